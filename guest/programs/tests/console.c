/*
 * The console, from a program's side:
 *
 *     console flood BYTES   a stretch of numbered lines, written in pieces of any size
 *     console echo          copies its input until a line of a dot alone; polls, and reads without
 *                           waiting
 *     console size          rows and columns
 */
#include "guest/programs/runtime/tasks.h"

#define TIOCGWINSZ 0x5413
#define POLLIN	   1
#define POLLOUT	   4
#define F_GETFL	   3
#define F_SETFL	   4
#define LINE	   32 /* bytes of each numbered line */

struct pollfd {
	int fd;
	short events, revents;
};

static char buffer[64 << 10];

static void write_all(const char *from, size_t length)
{
	while (length > 0) {
		long put = call(WRITE, 1, from, length);

		if (put <= 0)
			exit(1);
		from += put;
		length -= put;
	}
}

/* "line 000000000042 ............\n" */
static void number_line(char *to, uint64_t number)
{
	memset(to, '.', LINE);
	memcpy(to, "line ", 5);
	for (unsigned i = 0; i < 12; i++, number /= 10)
		to[16 - i] = '0' + number % 10;
	to[17] = ' ';
	to[LINE - 1] = '\n';
}

static int flood(uint64_t bytes)
{
	uint64_t state = 1, done = 0, part, at;

	for (; done < bytes; done += part) {
		state = mix(state);
		part = state % 5 == 0 ? state / 5 % sizeof(buffer) + 1 : state / 5 % 100 + 1;
		part = part < bytes - done ? part : bytes - done;
		for (at = 0; at < part; at++) {
			char line[LINE];

			if (at == 0 || (done + at) % LINE == 0)
				number_line(line, (done + at) / LINE);
			buffer[at] = line[(done + at) % LINE];
		}
		write_all(buffer, part);
	}
	return 0;
}

static void expect_poll(short wanted, int timeout, short revents, const char *what)
{
	struct pollfd poll = { 0, wanted, 0 };

	expect(call(POLL, &poll, 1, timeout) == (revents != 0) && poll.revents == revents, what);
}

/* Whether the bytes end with a line of a dot alone. */
static bool is_last(const char *text, long length)
{
	return length >= 3 && text[length - 1] == '\n' && text[length - 2] == '.' &&
	       text[length - 3] == '\n';
}

static int echo(void)
{
	long total = 0, got, flags = call(FCNTL, 0, F_GETFL);

	expect(call(FCNTL, 0, F_SETFL, flags | O_NONBLOCK) == 0, "O_NONBLOCK");
	expect(call(READ, 0, buffer, 100) == -EAGAIN, "a read of nothing");
	expect_poll(POLLIN, 0, 0, "poll of nothing");
	expect_poll(POLLIN | POLLOUT, 0, POLLOUT, "poll for room");
	call(FCNTL, 0, F_SETFL, flags);
	print("ready\n");
	expect_poll(POLLIN, 20000, POLLIN, "poll of something");
	do {
		got = call(READ, 0, buffer + total, sizeof(buffer) - total);
		if (got <= 0)
			break;
		total += got;
	} while (!is_last(buffer, total));
	expect(is_last(buffer, total), "the last line");
	write_all(buffer, total);
	print("%ld bytes, %u wrong\n", total, failures);
	return failures != 0;
}

static int size(void)
{
	uint16_t size[4];

	expect(call(IOCTL, 1, TIOCGWINSZ, size) == 0, "TIOCGWINSZ");
	print("%u rows, %u columns\n", size[0], size[1]);
	return 0;
}

int main(int argc, char **argv)
{
	uint64_t bytes;

	if (argc == 3 && equal(argv[1], "flood") && parse_size(argv[2], &bytes))
		return flood(bytes);
	if (argc == 2 && equal(argv[1], "echo"))
		return echo();
	if (argc == 2 && equal(argv[1], "size"))
		return size();
	return 2;
}
