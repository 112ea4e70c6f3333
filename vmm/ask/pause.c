/* bifold pause, resume, quit: a word to a running guest. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/log.h"
#include "vmm/arguments.h"
#include "vmm/commands.h"
#include "vmm/ask/client.h"

#define STATUS_FAILED 1
#define STATUS_USAGE  125
#define END_MS	      30000 /* to write what it has to write, and be gone */

/* 0: *path is the one argument; 1: help was printed; -EINVAL, logged. */
static int parse(int argc, char **argv, const char *help, const char **path)
{
	static const struct option long_options[] = {
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	int option;

	optind = 0;
	while ((option = arguments_next(argc, argv, "h", long_options)) != -1) {
		if (option != 'h')
			return -EINVAL;
		fputs(help, stdout);
		return 1;
	}
	if (arguments_expect(argc, argv, "PATH") != 0)
		return -EINVAL;
	*path = argv[optind];
	return 0;
}

/* Asks for what the command is called. */
static int simple_command(int argc, char **argv, const char *help)
{
	const char *path;
	int status = parse(argc, argv, help, &path);
	json_t *result;

	if (status != 0)
		return status > 0 ? 0 : STATUS_USAGE;
	result = control_ask(path, argv[0], NULL);
	status = result != NULL ? 0 : STATUS_FAILED;
	json_decref(result);
	return status;
}

int command_pause(int argc, char **argv)
{
	return simple_command(
		argc, argv,
		"Usage: bifold pause PATH\n"
		"\n"
		"Stop a running guest where it is, until 'bifold resume'. PATH is its control\n"
		"socket: bifold run --control PATH. Its vCPUs do not run, and it can be looked\n"
		"at; its clocks go on, and so does the time of --timeout. To pause a paused guest\n"
		"changes nothing.\n"
		"\n"
		"  -h, --help   this text\n"
		"\n"
		"Exit status 0: it is paused; 1: it cannot be asked, or a vCPU does not come out;\n"
		"125: bad options.\n");
}

int command_resume(int argc, char **argv)
{
	return simple_command(
		argc, argv,
		"Usage: bifold resume PATH\n"
		"\n"
		"Let a paused guest go on. PATH is its control socket: bifold run --control PATH.\n"
		"\n"
		"  -h, --help   this text\n"
		"\n"
		"Exit status 0: it runs; 1: it cannot be asked; 125: bad options.\n");
}

/* A descriptor of the process at the other end, readable when it has ended; -1: none. */
static int open_process(int socket_fd)
{
	struct ucred peer;
	socklen_t size = sizeof(peer);

	if (getsockopt(socket_fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0)
		return -1;
	return (int)syscall(SYS_pidfd_open, peer.pid, 0);
}

/* 0 or -errno, as of control_client.h. */
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
	int status = parse(
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
	return error == 0 ? 0 : STATUS_FAILED;
}
