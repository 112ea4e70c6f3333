/* bifold quit: asks, and waits for the monitor to be gone. */
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "vmm/ask/ask.h"
#include "vmm/ask/client.h"
#include "vmm/common/commands.h"

#define END_MS 30000 /* to write what it has to write, and be gone */

/* A descriptor of the process at the other end, readable when it has ended; -1: none. */
static int open_process(int socket_fd)
{
	struct ucred peer;
	socklen_t size = sizeof(peer);

	if (getsockopt(socket_fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0)
		return -1;
	return (int)syscall(SYS_pidfd_open, peer.pid, 0);
}

/* 0 or -errno, as of client.h. */
static int quit(const char *path, char refusal[CONTROL_ERROR_SIZE])
{
	struct control_client client;
	struct pollfd process = { .fd = -1, .events = POLLIN };
	json_t *result = NULL;
	int error = control_client_init(&client, path);

	if (error == 0) {
		process.fd = open_process(client.fd);
		error = control_client_call(&client, "quit", NULL, &result, refusal);
	}
	json_decref(result);
	control_client_finish(&client);
	if (error == 0 && process.fd >= 0 && poll(&process, 1, END_MS) != 1)
		error = -ETIMEDOUT;
	if (process.fd >= 0)
		close(process.fd);
	return error;
}

int command_quit(int argc, char **argv)
{
	char refusal[CONTROL_ERROR_SIZE] = "";
	const char *path;
	int status = ask_parse_path(
		argc, argv,
		"Usage: bifold quit PATH\n"
		"\n"
		"End a running guest, as if its power were cut: what it has not written is lost.\n"
		"PATH is its control socket: bifold run --control PATH. Returns when the monitor\n"
		"has ended, which exits with status 0, for it did what its user asked for.\n"
		"\n"
		"  -h, --help   this text\n"
		"\n"
		"Exit status 0: it has ended; 1: it cannot be asked, or has not ended after 30 s;\n"
		"125: bad options.\n",
		&path);
	int error;

	if (status != 0)
		return status > 0 ? 0 : STATUS_USAGE;
	error = quit(path, refusal);
	if (error != 0)
		control_client_log(path, error, refusal);
	return error == 0 ? 0 : STATUS_NO;
}
