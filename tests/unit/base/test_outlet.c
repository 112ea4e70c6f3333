/* Writing to what others share, without waiting. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/outlet.h"

static const char text[1000];

/* Until it would wait; how many bytes went. */
static size_t fill(const struct outlet *outlet)
{
	size_t total = 0;
	ssize_t n;

	while ((n = outlet_put(outlet, text, sizeof(text))) > 0)
		total += (size_t)n;
	cr_assert_eq(errno, EAGAIN, "%s", strerror(errno));
	return total;
}

static void full_and_empty_again(int reader, int writer)
{
	int flags = fcntl(writer, F_GETFL);
	struct outlet outlet;
	char drop[4096];
	size_t total;

	cr_assert_eq(outlet_open(&outlet, writer), 0);
	total = fill(&outlet);
	cr_assert_gt(total, 4096);
	cr_assert_eq(fcntl(writer, F_GETFL), flags, "the others' descriptor has changed");
	while (total > 0)
		total -= (size_t)read(reader, drop, sizeof(drop));
	cr_assert_gt(outlet_put(&outlet, text, 1), 0);
	outlet_close(&outlet);
	outlet_close(&outlet);
	cr_assert_eq(outlet.fd, -1);
}

Test(outlet, pipe)
{
	int fds[2];

	cr_assert_eq(pipe(fds), 0);
	full_and_empty_again(fds[0], fds[1]);
}

Test(outlet, socket)
{
	int fds[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	full_and_empty_again(fds[0], fds[1]);
}

/* As for a terminal that may not be opened anew. */
Test(outlet, polled)
{
	struct outlet outlet;
	int fds[2];

	cr_assert_eq(pipe(fds), 0);
	outlet = (struct outlet){ .fd = fds[1], .way = OUTLET_POLLED };
	cr_assert_gt(fill(&outlet), 4096);
}

Test(outlet, file_keeps_its_place)
{
	char name[] = "/tmp/bifold-outlet-XXXXXX", read_back[5] = "";
	struct outlet outlet;
	int fd = mkstemp(name);

	cr_assert_geq(fd, 0);
	unlink(name);
	cr_assert_eq(write(fd, "ab", 2), 2);
	cr_assert_eq(outlet_open(&outlet, fd), 0);
	cr_assert_eq(outlet_put(&outlet, "cd", 2), 2);
	cr_assert_eq(pread(fd, read_back, 4, 0), 4);
	cr_assert_str_eq(read_back, "abcd");
	outlet_close(&outlet);
}

Test(outlet, nobody_reads)
{
	struct outlet outlet;
	int fds[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	cr_assert_eq(outlet_open(&outlet, fds[1]), 0);
	close(fds[0]);
	cr_assert_eq(outlet_put(&outlet, text, 1), -1);
	cr_assert_eq(errno, EPIPE, "and no signal");
}

Test(outlet, closed)
{
	struct outlet outlet;

	cr_assert_eq(outlet_open(&outlet, 999), -EBADF);
	cr_assert_eq(outlet_put(&outlet, text, 1), -1);
	cr_assert_eq(errno, EBADF);
	outlet_close(&outlet);
}
