/*
 * The status line of 'bifold run' on the terminals that tmux makes: what it leaves alone. A shell
 * runs in each, and all that is ever written to it is kept in a file.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/vm/harness.h"

#define SHOWN "held" /* a word of the status line and of nothing else here */

/* A terminal, and a shell that speaks through it. */
struct pane {
	char name[16];
	int columns;
	const char *log;	 /* the file of all that was written there */
	const char *fifo, *word; /* the guest's standard input; the file of a script */
	int fifo_fd;
};

static const char *tmux_socket;

static void start_server(void)
{
	harness_init();
	tmux_socket = scratch_path("tmux");
}

static void end_server(void)
{
	if (access(tmux_socket, F_OK) == 0)
		run_words(NULL, NULL, "/usr/bin/env", "tmux", "-S", tmux_socket, "kill-server",
			  NULL);
	harness_finish();
}

TestSuite(status, .init = start_server, .fini = end_server, .timeout = 120);

/* The output of a tmux command, which must succeed. */
#define TMUX(...)                                                                                  \
	tmux(run_words(NULL, NULL, "/usr/bin/env", "tmux", "-S", tmux_socket, "-f", "/dev/null",   \
		       __VA_ARGS__, NULL))

static char *tmux(struct child *child)
{
	char *text;

	cr_assert_eq(child->status, 0, "tmux: %s", child->err_text);
	text = strdup(child->out_text);
	child_forget(child);
	return text;
}

static void need_tmux(void)
{
	need_kvm();
	if (system("command -v tmux >/dev/null && command -v bash >/dev/null") != 0)
		cr_skip_test("SKIP: tmux or bash is missing: tools/setup --tests");
}

static const char *path_of(const struct pane *pane, const char *what)
{
	char name[48];

	snprintf(name, sizeof(name), "%s-%s", pane->name, what);
	return scratch_path(name);
}

static char *screen_of(const struct pane *pane)
{
	return TMUX("capture-pane", "-p", "-t", pane->name);
}

/* The rows of the screen that have the text in them; *row: a copy of the last. */
static int rows_with(const struct pane *pane, const char *text, char row[256])
{
	char *screen = screen_of(pane), *rest = screen, *line;
	int count = 0;

	while ((line = strsep(&rest, "\n")) != NULL) {
		if (strstr(line, text) == NULL)
			continue;
		count++;
		snprintf(row, 256, "%s", line);
	}
	free(screen);
	return count;
}

static void wait_for(const struct pane *pane, const char *text)
{
	char row[256];

	while (rows_with(pane, text, row) == 0)
		usleep(20000);
}

static void type(const struct pane *pane, const char *text)
{
	free(TMUX("send-keys", "-t", pane->name, "-l", text));
	free(TMUX("send-keys", "-t", pane->name, "Enter"));
}

/* Everything that was written to the pane, from an offset on; *size: where that ends. */
static char *log_from(const struct pane *pane, size_t from, size_t *size)
{
	char *text = read_file(pane->log, size);

	cr_assert(text != NULL && *size >= from);
	memmove(text, text + from, *size - from);
	text = realloc(text, *size - from + 1);
	text[*size - from] = '\0';
	return text;
}

static void expect_never_shown(const struct pane *pane, size_t from)
{
	size_t size;
	char *text = log_from(pane, from, &size);

	cr_assert(strstr(text, SHOWN) == NULL, "%s: a status line: %s", pane->name, text);
	free(text);
}

/*
 * The script "go" runs the guest, whose shell does what it is told, and which ends by itself should
 * the test not see to it; the word "over" is printed when
 * it has ended. rest: redirections.
 */
static void open_pane(struct pane *pane, const char *name, int columns, const char *options,
		      const char *guest, const char *rest)
{
	char width[8], text[2048], command[256];

	*pane = (struct pane){ .columns = columns, .fifo_fd = -1 };
	snprintf(pane->name, sizeof(pane->name), "%s", name);
	pane->log = path_of(pane, "log");
	pane->fifo = path_of(pane, "fifo");
	pane->word = path_of(pane, "go");
	cr_assert_eq(mkfifo(pane->fifo, 0600), 0);
	pane->fifo_fd = open(pane->fifo, O_RDWR | O_CLOEXEC);
	cr_assert(pane->fifo_fd >= 0);
	snprintf(text, sizeof(text),
		 "#!/bin/sh\n'%s' run --memory 32M --timeout 90 %s -- '%s' sh -c '%s' <'%s' "
		 "%s\necho ov''er\n",
		 bifold_path(), options, busybox_path(), guest, pane->fifo, rest);
	write_file(pane->word, text, strlen(text));
	cr_assert_eq(chmod(pane->word, 0700), 0);
	snprintf(width, sizeof(width), "%d", columns);
	free(TMUX("new-session", "-d", "-s", pane->name, "-x", width, "-y", "20",
		  "env go='"
		  "' PS1='$ ' TMOUT=60 bash --norc --noprofile -i"));
	snprintf(command, sizeof(command), "cat >'%s'", pane->log);
	free(TMUX("pipe-pane", "-t", pane->name, command));
	snprintf(command, sizeof(command), "cd %s; go=./%s; clear; echo rea''dy", scratch_path("."),
		 strrchr(pane->word, '/') + 1);
	type(pane, command);
	wait_for(pane, "ready");
}

static void tell_guest(const struct pane *pane)
{
	cr_assert_eq(write(pane->fifo_fd, "x\n", 2), 2);
}

/* In which a status line would be drawn: that none is has no event of its own. */
static void let_ticks_pass(void)
{
	usleep(1200000);
}

/* One row, not wrapped, that ends with a whole number's unit. */
static void expect_one_row(const struct pane *pane)
{
	char row[256], next[256];

	wait_for(pane, SHOWN);
	cr_assert_eq(rows_with(pane, SHOWN, row), 1, "%s", screen_of(pane));
	cr_assert_lt((int)strlen(row), pane->columns, "%s", row);
	cr_assert_eq(rows_with(pane, "s  " SHOWN, next), 1, "%s", row);
	cr_assert(strstr(row, " swap") != NULL || strcmp(row + strlen(row) - 3, "MiB") == 0 ||
			  strcmp(row + strlen(row) - 2, " B") == 0,
		  "cut within a word: %s", row);
}

static void expect_row(const struct pane *pane, const char *text)
{
	char row[256];

	wait_for(pane, text);
	rows_with(pane, text, row);
	cr_assert_str_eq(row, text);
}

/* Half a line of the guest's stays until its other half has come. */
static void shown_at(int columns, struct pane *pane)
{
	char name[16];

	snprintf(name, sizeof(name), "w%d", columns);
	open_pane(pane, name, columns, "",
		  "read a; echo one line >&2; read a; printf half >&2; read a; echo and half >&2",
		  ">/dev/null");
	type(pane, "$go");
}

Test(status, is_one_row_that_is_cleared)
{
	static const int columns[] = { 40, 80, 200 };
	struct pane pane[3];

	need_tmux();
	for (int i = 0; i < 3; i++)
		shown_at(columns[i], &pane[i]);
	for (int i = 0; i < 3; i++) {
		char row[256];

		expect_one_row(&pane[i]);
		tell_guest(&pane[i]);
		expect_row(&pane[i], "one line");
		expect_one_row(&pane[i]);
		tell_guest(&pane[i]);
		expect_row(&pane[i], "half");
		let_ticks_pass();
		expect_row(&pane[i], "half");
		tell_guest(&pane[i]);
		expect_row(&pane[i], "halfand half");
		expect_row(&pane[i], "over");
		cr_assert_eq(rows_with(&pane[i], SHOWN, row), 0, "%s", screen_of(&pane[i]));
	}
}

/* Every run ends by its time limit, which it says in any case. */
Test(status, is_left_out)
{
	static const struct {
		const char *name, *options, *rest, *command;
	} cases[] = {
		{ "terminal", "", "", "$go" },
		{ "behind", "", ">/dev/null", "$go & sleep 0.1; echo beh''ind" },
		{ "dumb", "", ">/dev/null", "TERM=dumb $go" },
		{ "quiet", "--quiet", ">/dev/null", "$go" },
		{ "device", "", ">/dev/tty", "$go" },
		{ "pipe", "", "| cat", "$go" },
		{ "script", "", ">/dev/null & wait", "$go" },
	};
	struct pane pane[sizeof(cases) / sizeof(cases[0])];
	char options[64];

	need_tmux();
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		snprintf(options, sizeof(options), "--timeout 2 %s", cases[i].options);
		open_pane(&pane[i], cases[i].name, 100, options, "read a", cases[i].rest);
		type(&pane[i], cases[i].command);
	}
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		wait_for(&pane[i], "over");
		wait_for(&pane[i], "bifold: stopped: 2 s have passed");
		expect_never_shown(&pane[i], 0);
	}
}

/* Between ^Z and fg the terminal is the shell's. */
Test(status, stays_out_of_the_background)
{
	struct pane pane;
	size_t size;

	need_tmux();
	open_pane(&pane, "stopped", 80, "", "read a; echo still here >&2; read a", ">/dev/null");
	type(&pane, "$go");
	wait_for(&pane, SHOWN);
	free(TMUX("send-keys", "-t", pane.name, "C-z"));
	wait_for(&pane, "Stopped");
	free(log_from(&pane, 0, &size));
	type(&pane, "bg");
	let_ticks_pass();
	tell_guest(&pane);
	wait_for(&pane, "still here");
	expect_never_shown(&pane, size);
	type(&pane, "clear; echo clea''red");
	wait_for(&pane, "cleared");
	type(&pane, "fg");
	wait_for(&pane, SHOWN);
	tell_guest(&pane);
	wait_for(&pane, "over");
}

/* The shell waits for the guest's monitor itself to stop, and finds the row free. */
Test(status, is_cleared_by_ctrl_z)
{
	struct pane pane;
	char command[512], row[256];

	need_tmux();
	open_pane(&pane, "cleared", 100, "", "", "");
	snprintf(command, sizeof(command),
		 "clear; '%s' run --timeout 90 -- '%s' sleep 60 >/dev/null", bifold_path(),
		 busybox_path());
	type(&pane, command);
	wait_for(&pane, SHOWN);
	free(TMUX("send-keys", "-t", pane.name, "C-z"));
	wait_for(&pane, "Stopped");
	cr_assert_eq(rows_with(&pane, SHOWN, row), 0, "%s", row);
	type(&pane, "kill -KILL %1; fg; clear; echo go''ne");
	wait_for(&pane, "gone");
}

/* Errors alone: not that the budget will not bind. */
Test(status, quiet_says_errors_only)
{
	struct child *child;

	need_kvm();
	child = run_bifold("--memory", "32M", "--budget", "64M", "--", busybox_path(), "true");
	cr_assert(strstr(child->err_text, "will not bind") != NULL);
	child = run_bifold("-q", "--memory", "32M", "--budget", "64M", "--", busybox_path(),
			   "true");
	cr_assert_str_eq(child->err_text, "");
	cr_assert_eq(child->status, 0);
	child = run_bifold("--quiet", "--memory", "1", "--", busybox_path(), "true");
	cr_assert_str_neq(child->err_text, "");
}
