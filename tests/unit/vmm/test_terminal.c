/*
 * The terminal of a stock guest, on a pty: raw while it is the guest's, as it was afterwards
 * whatever ended it, and the one key that is the monitor's.
 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <pty.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "vmm/terminal.h"

static int master, slave;
static struct termios before;
static struct terminal *terminal;

static uint8_t got[8192];
static size_t got_count, most = sizeof(got); /* the guest takes as much */
static unsigned leaves, columns, rows;

static size_t input(void *context, const uint8_t *bytes, size_t length)
{
	size_t taken = length < most - got_count ? length : most - got_count;

	memcpy(got + got_count, bytes, taken);
	got_count += taken;
	return taken;
}

static void leave(void *context)
{
	leaves++;
}

static void resized(void *context, unsigned new_columns, unsigned new_rows)
{
	columns = new_columns;
	rows = new_rows;
}

static void take(int fd)
{
	const struct terminal_config config = {
		.fd = fd,
		.input = input,
		.leave = leave,
		.resized = resized,
	};

	cr_assert_eq(terminal_create(&config, &terminal), 0);
}

static void open_terminal(void)
{
	const struct winsize size = { .ws_col = 91, .ws_row = 33 };

	cr_assert_eq(openpty(&master, &slave, NULL, NULL, &size), 0);
	cr_assert_eq(tcgetattr(slave, &before), 0);
	cr_assert(before.c_lflag & ECHO);
}

static bool is_as_before(void)
{
	struct termios now;

	cr_assert_eq(tcgetattr(slave, &now), 0);
	return now.c_lflag == before.c_lflag && now.c_iflag == before.c_iflag &&
	       now.c_oflag == before.c_oflag && now.c_cflag == before.c_cflag &&
	       memcmp(now.c_cc, before.c_cc, sizeof(now.c_cc)) == 0;
}

static bool is_raw(void)
{
	struct termios now;

	cr_assert_eq(tcgetattr(slave, &now), 0);
	return !(now.c_lflag & (ECHO | ICANON | ISIG | IEXTEN)) &&
	       !(now.c_iflag & (ICRNL | IXON | INLCR | IGNCR)) && (now.c_oflag & OPOST) &&
	       now.c_cc[VMIN] == 1;
}

static void close_terminal(void)
{
	terminal_destroy(terminal);
	close(master);
	close(slave);
}

TestSuite(terminal, .init = open_terminal, .fini = close_terminal, .timeout = 60);

/* Keys, and that they arrived. */
static void type(const char *keys, size_t length)
{
	struct pollfd ready = { .events = POLLIN };

	cr_assert_eq(write(master, keys, length), (ssize_t)length);
	for (int there = 0; there < (int)length;) {
		ready.fd = terminal_poll_fd(terminal);
		cr_assert_geq(ready.fd, 0);
		cr_assert_eq(poll(&ready, 1, 10000), 1);
		cr_assert_eq(ioctl(slave, FIONREAD, &there), 0);
		if (there < (int)length)
			continue;
		terminal_ready(terminal);
	}
}
#define TYPE(keys) type(keys, sizeof(keys) - 1)

static void expect_got(const char *text, size_t length)
{
	cr_assert_eq(got_count, length, "%zu bytes, not %zu", got_count, length);
	cr_assert_arr_eq(got, text, length);
	got_count = 0;
}
#define EXPECT_GOT(text) expect_got(text, sizeof(text) - 1)

Test(terminal, is_raw_and_put_back)
{
	take(slave);
	cr_assert(is_raw());
	cr_assert_eq(columns, 91);
	cr_assert_eq(rows, 33);
	terminal_destroy(terminal);
	cr_assert(is_as_before());
	take(slave);
	cr_assert(is_raw());
	terminal_destroy(terminal);
	terminal = NULL;
	cr_assert(is_as_before());
}

Test(terminal, all_keys_are_the_guests)
{
	take(slave);
	TYPE("ls\r\x03\x04\x1a\x1c\x11\x13\x7f\xff");
	EXPECT_GOT("ls\r\x03\x04\x1a\x1c\x11\x13\x7f\xff");
}

Test(terminal, but_one)
{
	take(slave);
	TYPE("a\x01\x01z");
	EXPECT_GOT("a\x01z");
	TYPE("\x01");
	EXPECT_GOT("");
	TYPE("\x01");
	EXPECT_GOT("\x01");
	TYPE("\x01h");
	EXPECT_GOT("");
	TYPE("\x01qxh");
	EXPECT_GOT("\x01qxh");
	cr_assert_eq(leaves, 0);
	TYPE("x\x01x");
	EXPECT_GOT("x");
	cr_assert_eq(leaves, 1);
}

/* The guest hangs: keys are kept as long as there is room, and the way out is open. */
Test(terminal, leaves_a_guest_that_hangs)
{
	static char many[2048];

	take(slave);
	most = 3;
	TYPE("hello");
	EXPECT_GOT("hel");
	most = 0;
	memset(many, 'k', sizeof(many));
	for (int i = 0; i < 4; i++)
		type(many, sizeof(many));
	TYPE("\x01x");
	cr_assert_eq(leaves, 1);
	most = sizeof(got);
	terminal_room(terminal);
	cr_assert_eq(got_count, 4096);
	cr_assert_arr_eq(got, "lokk", 4);
}

Test(terminal, changes_its_size)
{
	const struct winsize size = { .ws_col = 132, .ws_row = 50 };

	take(slave);
	cr_assert_eq(ioctl(slave, TIOCSWINSZ, &size), 0);
	terminal_measure(terminal);
	cr_assert_eq(columns, 132);
	cr_assert_eq(rows, 50);
}

Test(terminal, is_raw_again_after_a_stop)
{
	take(slave);
	cr_assert_eq(tcsetattr(slave, TCSANOW, &before), 0);
	terminal_continue(terminal);
	cr_assert(is_raw());
}

Test(terminal, hangs_up)
{
	take(slave);
	close(master);
	terminal_ready(terminal);
	cr_assert_eq(terminal_poll_fd(terminal), -1);
	master = -1;
}

/* --- whatever ends the process --- */

static void by_exit(void)
{
	exit(3);
}

static void by_abort(void)
{
	abort();
}

static void by_fault(void)
{
	volatile int *volatile nowhere = (volatile int *)8;

	*nowhere = 1;
}

static void *fault(void *argument)
{
	by_fault();
	return NULL;
}

static void by_fault_in_a_thread(void)
{
	pthread_t thread;

	pthread_create(&thread, NULL, fault, NULL);
	pthread_join(thread, NULL);
}

static void by_quit(void)
{
	raise(SIGQUIT);
}

static void by_user_signal(void)
{
	raise(SIGUSR2);
}

Test(terminal, is_put_back_whatever_ends_the_process)
{
	static const struct {
		void (*end)(void);
		int signal;
	} ends[] = {
		{ by_exit, 0 },	       { by_abort, SIGABRT },
		{ by_fault, SIGSEGV }, { by_fault_in_a_thread, SIGSEGV },
		{ by_quit, SIGQUIT },  { by_user_signal, SIGUSR2 },
	};

	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
		pid_t pid = fork();
		int status;

		if (pid == 0) {
			take(slave);
			if (!is_raw())
				_exit(99);
			ends[i].end();
			_exit(98);
		}
		cr_assert_eq(waitpid(pid, &status, 0), pid);
		if (ends[i].signal == 0)
			cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 3);
		else
			cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == ends[i].signal,
				  "%zu: %#x", i, status);
		cr_assert(is_as_before(), "end %zu", i);
	}
}

/* --- no terminal --- */

Test(pipe, passes_as_it_is)
{
	int ends[2];

	cr_assert_eq(pipe(ends), 0);
	most = 4;
	take(ends[0]);
	cr_assert_eq(write(ends[1], "a\x01xyz", 5), 5);
	cr_assert_eq(terminal_poll_fd(terminal), ends[0]);
	terminal_ready(terminal);
	EXPECT_GOT("a\x01xy");
	cr_assert_eq(leaves, 0);
	cr_assert_eq(terminal_poll_fd(terminal), -1, "what comes next waits in the pipe");
	terminal_room(terminal);
	EXPECT_GOT("z");
	cr_assert_eq(terminal_poll_fd(terminal), ends[0]);
	close(ends[1]);
	terminal_ready(terminal);
	cr_assert_eq(terminal_poll_fd(terminal), -1);
	terminal_room(terminal);
	cr_assert_eq(got_count, 0);
	terminal_destroy(terminal);
	terminal_destroy(NULL);
}
