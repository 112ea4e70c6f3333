#include "tests/vm/guests.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "vmm/common/json.h"

const char *socket_path(void)
{
	return scratch_path("control");
}

int connect_socket(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", socket_path());
	cr_assert_eq(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0, "%s",
		     strerror(errno));
	return fd;
}

static struct child *start(const char *const *options, const char *path,
			   const char *const *arguments, const char *says)
{
	const char *argv[32] = { bifold_path(), "run", "--control", socket_path() };
	struct child *guest;
	int n = 4;

	while (*options != NULL)
		argv[n++] = *options++;
	argv[n++] = "--";
	argv[n++] = path;
	while (*arguments != NULL)
		argv[n++] = *arguments++;
	guest = child_start(argv, NULL);
	child_wait_for(guest, false, says);
	return guest;
}

struct child *start_guest(const char *const *options, const char *const *program, const char *says)
{
	return start(options, test_program(program[0]), program + 1, says);
}

struct child *start_program(const char *const *options, const char *const *program,
			    const char *says)
{
	return start(options, guest_program(program[0]), program + 1, says);
}

struct child *start_hold(const char *const *options)
{
	return start_guest(options, WORDS("hold", "16", "random"), "ready");
}

void expect_end(struct child *guest, int status)
{
	struct stat file;

	child_finish(guest, NULL, 0);
	cr_assert_eq(guest->status, status, "status %d: %s", guest->status, guest->err_text);
	cr_assert(lstat(socket_path(), &file) != 0 && errno == ENOENT, "the socket is left");
}

void end_hold(struct child *guest)
{
	child_send(guest, "\n");
	expect_end(guest, 0);
	cr_assert(strstr(guest->out_text, "whole") != NULL, "%s", guest->out_text);
}

void end_guest(struct child *guest)
{
	kill(guest->pid, SIGTERM);
	expect_end(guest, 128 + SIGTERM);
}

void steer(const char *command)
{
	struct child *asked = run_words(NULL, NULL, bifold_path(), command, socket_path(), NULL);

	cr_assert_eq(asked->status, 0, "%s: status %d: %s", command, asked->status,
		     asked->err_text);
	child_forget(asked);
}

void steer_fails(const char *command, int status, const char *says)
{
	struct child *asked = run_words(NULL, NULL, bifold_path(), command, socket_path(), NULL);

	cr_assert_eq(asked->status, status, "%s: status %d", command, asked->status);
	cr_assert(strstr(asked->err_text, says) != NULL, "%s: %s", command, asked->err_text);
	child_forget(asked);
}

json_t *stat_json(void)
{
	struct child *asked =
		run_words(NULL, NULL, bifold_path(), "stat", "--json", socket_path(), NULL);
	json_t *stat = json_loads(asked->out_text, 0, NULL);

	cr_assert(asked->status == 0 && json_is_object(stat), "status %d: %s", asked->status,
		  asked->err_text);
	child_forget(asked);
	return stat;
}

int64_t stat_number(const char *path)
{
	json_t *stat = stat_json(), *number = json_at(stat, path);
	int64_t value = json_integer_value(number);

	cr_assert(json_is_integer(number), "%s is no number", path);
	json_decref(stat);
	return value;
}
