/*
 * The terminal of 'bifold top'. The way to take it back is prepared when it is opened: after a
 * crash, nothing of ncurses may be called, only write(2) and tcsetattr(3).
 */
#include <curses.h>
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <term.h>
#include <termios.h>
#include <unistd.h>

#include "base/log.h"
#include "vmm/ask/top_screen.h"

#define ESCAPE_MS 25 /* for the rest of a key that begins with an escape */

static const int crashes[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT };

static SCREEN *screen;
static struct termios before;
static char restoring[256]; /* what makes the terminal show what it did */
static size_t restoring_size;

static int keep(int c)
{
	if (restoring_size < sizeof(restoring))
		restoring[restoring_size++] = (char)c;
	return c;
}

static void prepare_restoring(void)
{
	static const char *const names[] = { "sgr0", "cnorm", "rmkx", "rmcup" };

	restoring_size = 0;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		const char *text = tigetstr(names[i]);

		if (text != NULL && text != (char *)-1)
			tputs(text, 1, keep);
	}
}

static void crash(int number)
{
	ssize_t n = write(STDOUT_FILENO, restoring, restoring_size);

	(void)n; /* there may be no terminal any more */
	tcsetattr(STDIN_FILENO, TCSANOW, &before);
	raise(number); /* as it was before: SA_RESETHAND */
}

static void watch_crashes(bool on)
{
	struct sigaction action = { .sa_handler = SIG_DFL };

	if (on)
		action = (struct sigaction){ .sa_handler = crash, .sa_flags = (int)SA_RESETHAND };
	for (size_t i = 0; i < sizeof(crashes) / sizeof(crashes[0]); i++)
		sigaction(crashes[i], &action, NULL);
}

/* Whether what TERM names has what drawing needs. */
static int check_terminal(void)
{
	const char *name = getenv("TERM");
	int found;

	if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO)) {
		log_error("top draws on a terminal: use 'bifold stat --watch' elsewhere");
		return -ENOTTY;
	}
	if (name == NULL || setupterm(name, STDOUT_FILENO, &found) != OK) {
		log_error("the terminal TERM names, '%s', is not known here: use 'bifold stat "
			  "--watch'",
			  name != NULL ? name : "");
		return -ENOTTY;
	}
	if (cursor_address != NULL && clear_screen != NULL)
		return 0;
	log_error("the terminal TERM names, '%s', cannot be drawn on: use 'bifold stat --watch'",
		  name);
	return -ENOTTY;
}

int top_screen_open(void)
{
	int error = check_terminal();

	if (error != 0)
		return error;
	if (tcgetattr(STDIN_FILENO, &before) != 0)
		return -errno;
	prepare_restoring();
	screen = newterm(NULL, stdout, stdin);
	if (screen == NULL) {
		log_error("ncurses cannot use this terminal");
		return -ENOTTY;
	}
	watch_crashes(true);
	set_escdelay(ESCAPE_MS);
	cbreak();
	noecho();
	keypad(stdscr, TRUE);
	nodelay(stdscr, TRUE);
	curs_set(0);
	top_screen_colours();
	return 0;
}

void top_screen_close(void)
{
	if (screen == NULL)
		return;
	endwin();
	delscreen(screen);
	screen = NULL;
	tcsetattr(STDIN_FILENO, TCSADRAIN, &before);
	watch_crashes(false);
}

enum top_key top_screen_key(void)
{
	switch (getch()) {
	case ERR:
		return TOP_KEY_NONE;
	case KEY_RESIZE:
	case 'L' - '@':
		clearok(curscr, TRUE);
		return TOP_KEY_REDRAW;
	case 'q':
	case 'Q':
		return TOP_KEY_QUIT;
	case 'p':
	case ' ':
		return TOP_KEY_PAUSE;
	case '-':
	case KEY_LEFT:
		return TOP_KEY_BUDGET_LESS;
	case '+':
	case '=':
	case KEY_RIGHT:
		return TOP_KEY_BUDGET_MORE;
	case '[':
	case KEY_DOWN:
		return TOP_KEY_BALLOON_LESS;
	case ']':
	case KEY_UP:
		return TOP_KEY_BALLOON_MORE;
	default:
		return TOP_KEY_OTHER;
	}
}
