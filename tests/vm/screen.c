#include "tests/vm/screen.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utmp.h>

#define PATIENCE_MS 60000

/* --- the screen --- */

static void clear_cells(struct screen *s, int row, int from, int to)
{
	if (row >= 0 && row < s->rows && from < to)
		memset(s->cell[row] + from, ' ', (size_t)(to - from));
}

static void clear_rows(struct screen *s, int from, int to)
{
	for (int row = from; row < to; row++)
		clear_cells(s, row, 0, s->columns);
}

static int within(int value, int least, int most)
{
	return value < least ? least : value > most ? most : value;
}

static void move_to(struct screen *s, int row, int column)
{
	s->row = within(row, 0, s->rows - 1);
	s->column = within(column, 0, s->columns - 1);
	s->wrap = false;
}

/* Rows from..bottom go up (or down) by one each. */
static void scroll(struct screen *s, int from, int count, bool up)
{
	for (int i = 0; i < count; i++) {
		int rows = s->bottom - from;

		if (rows < 0)
			return;
		if (up)
			memmove(s->cell[from], s->cell[from + 1],
				(size_t)rows * sizeof(s->cell[0]));
		else
			memmove(s->cell[from + 1], s->cell[from],
				(size_t)rows * sizeof(s->cell[0]));
		clear_rows(s, up ? s->bottom : from, (up ? s->bottom : from) + 1);
	}
}

static void next_row(struct screen *s)
{
	if (s->row == s->bottom)
		scroll(s, s->top, 1, true);
	else if (s->row < s->rows - 1)
		s->row++;
}

static void put_character(struct screen *s, char c)
{
	if (s->wrap) {
		s->column = 0;
		next_row(s);
	}
	s->wrap = s->column == s->columns - 1;
	s->cell[s->row][s->column] = c;
	if (!s->wrap)
		s->column++;
}

static void shift_cells(struct screen *s, int by)
{
	char *row = s->cell[s->row];
	int rest = s->columns - s->column, count = within(abs(by), 0, rest);

	if (by > 0)
		memmove(row + s->column + count, row + s->column, (size_t)(rest - count));
	else
		memmove(row + s->column, row + s->column + count, (size_t)(rest - count));
	clear_cells(s, s->row, by > 0 ? s->column : s->columns - count,
		    by > 0 ? s->column + count : s->columns);
}

static void erase(struct screen *s, bool all_rows, int what)
{
	if (all_rows && what != 0)
		clear_rows(s, 0, what == 1 ? s->row : s->rows);
	if (all_rows && what == 0)
		clear_rows(s, s->row + 1, s->rows);
	clear_cells(s, s->row, what == 0 ? s->column : 0, what == 1 ? s->column + 1 : s->columns);
}

static void set_mode(struct screen *s, int mode, bool on)
{
	if (mode == 25)
		s->hidden = !on;
	if (mode == 1049 || mode == 47 || mode == 1047)
		s->alternate = on;
}

static void paint(struct screen *s, const int *number, int count)
{
	for (int i = 0; i < count; i++)
		if ((number[i] >= 30 && number[i] <= 38) || (number[i] >= 40 && number[i] <= 48) ||
		    number[i] >= 90)
			s->coloured = true;
}

static void move_by_control(struct screen *s, char end, int n, const int *number)
{
	switch (end) {
	case 'A':
		move_to(s, s->row - n, s->column);
		break;
	case 'B':
		move_to(s, s->row + n, s->column);
		break;
	case 'C':
		move_to(s, s->row, s->column + n);
		break;
	case 'D':
		move_to(s, s->row, s->column - n);
		break;
	case 'G':
		move_to(s, s->row, n - 1);
		break;
	case 'd':
		move_to(s, n - 1, s->column);
		break;
	case 'H':
	case 'f':
		move_to(s, n - 1, number[1] > 0 ? number[1] - 1 : 0);
		break;
	}
}

static void control(struct screen *s, bool question, const int *number, int count, char end)
{
	int n = number[0] > 0 ? number[0] : 1;

	if (strchr("ABCDGdHf", end) != NULL)
		move_by_control(s, end, n, number);
	else if (end == 'J' || end == 'K')
		erase(s, end == 'J', number[0]);
	else if (end == 'L' || end == 'M')
		scroll(s, s->row, n, end == 'M');
	else if (end == 'S' || end == 'T')
		scroll(s, s->top, n, end == 'S');
	else if (end == '@' || end == 'P')
		shift_cells(s, end == '@' ? n : -n);
	else if (end == 'X')
		clear_cells(s, s->row, s->column, within(s->column + n, 0, s->columns));
	else if (end == 'b')
		while (n-- > 0)
			put_character(s, s->cell[s->row][s->column > 0 ? s->column - 1 : 0]);
	else if (end == 'h' || end == 'l')
		for (int i = 0; i < count && question; i++)
			set_mode(s, number[i], end == 'h');
	else if (end == 'm')
		paint(s, number, count);
	else if (end == 'r') {
		s->top = n - 1;
		s->bottom = number[1] > 0 ? within(number[1] - 1, 0, s->rows - 1) : s->rows - 1;
		move_to(s, 0, 0);
	} else
		cr_assert(strchr("tnc", end) != NULL, "an unknown control sequence ends with '%c'",
			  end);
}

/* ESC [ ? 1 ; 2 x: its length, or 0 when it is not complete. */
static size_t take_control(struct screen *s, const char *text, size_t size)
{
	int number[16] = { 0 }, count = 0;
	bool question = false;

	for (size_t i = 2; i < size; i++) {
		char c = text[i];

		if (c == '?' || c == '>' || c == '!') {
			question = true;
		} else if (c >= '0' && c <= '9') {
			number[count] = number[count] * 10 + c - '0';
		} else if (c == ';') {
			count = within(count + 1, 0, 15);
		} else {
			control(s, question, number, count + 1, c);
			return i + 1;
		}
	}
	return 0;
}

/* Of what begins with an escape: its length, or 0 when it is not complete. */
static size_t take_escape(struct screen *s, const char *text, size_t size)
{
	if (size < 2)
		return 0;
	switch (text[1]) {
	case '[':
		return take_control(s, text, size);
	case '(':
	case ')':
		return size < 3 ? 0 : 3;
	case '7':
		s->saved_row = s->row;
		s->saved_column = s->column;
		return 2;
	case '8':
		move_to(s, s->saved_row, s->saved_column);
		return 2;
	case 'M':
		if (s->row == s->top)
			scroll(s, s->top, 1, false);
		else
			move_to(s, s->row - 1, s->column);
		return 2;
	default:
		cr_assert(strchr("=>cDEH", text[1]) != NULL, "an unknown escape '%c'", text[1]);
		return 2;
	}
}

static size_t take_one(struct screen *s, const char *text, size_t size)
{
	switch (text[0]) {
	case '\033':
		return take_escape(s, text, size);
	case '\r':
		move_to(s, s->row, 0);
		break;
	case '\n':
		next_row(s);
		break;
	case '\b':
		move_to(s, s->row, s->column - 1);
		break;
	case '\t':
		move_to(s, s->row, (s->column / 8 + 1) * 8);
		break;
	case '\a':
	case '\016':
	case '\017':
	case '\0':
		break;
	default:
		put_character(s, text[0]);
	}
	return 1;
}

static void show(struct screen *s, const char *text, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		size_t used;

		cr_assert_lt(s->pending_size, sizeof(s->pending), "a sequence without an end");
		s->pending[s->pending_size++] = text[i];
		used = take_one(s, s->pending, s->pending_size);
		if (used > 0)
			s->pending_size = 0;
	}
}

/* --- the program --- */

static void set_size(struct screen *s, int rows, int columns)
{
	struct winsize size = { .ws_row = (unsigned short)rows, .ws_col = (unsigned short)columns };

	cr_assert(rows <= SCREEN_ROWS && columns <= SCREEN_COLUMNS);
	for (int row = 0; row < SCREEN_ROWS; row++)
		for (int column = 0; column < SCREEN_COLUMNS; column++)
			if (row >= s->rows || column >= s->columns)
				s->cell[row][column] = ' ';
	s->rows = rows;
	s->columns = columns;
	s->top = 0;
	s->bottom = rows - 1;
	move_to(s, s->row, s->column);
	cr_assert_eq(ioctl(s->master, TIOCSWINSZ, &size), 0);
}

void screen_start(struct screen *s, const char *type, int rows, int columns,
		  const char *const *argv)
{
	memset(s, 0, sizeof(*s));
	cr_assert_eq(openpty(&s->master, &s->slave, NULL, NULL, NULL), 0, "%s", strerror(errno));
	set_size(s, rows, columns);
	cr_assert_eq(tcgetattr(s->slave, &s->before), 0);
	s->pid = fork();
	cr_assert_geq(s->pid, 0);
	if (s->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		/* A script's background, where the suite may run, ignores it: no terminal does. */
		signal(SIGINT, SIG_DFL);
		close(s->master);
		setenv("TERM", type, 1);
		unsetenv("LINES");
		unsetenv("COLUMNS");
		if (login_tty(s->slave) == 0)
			execv(argv[0], (char *const *)(uintptr_t)argv);
		_exit(127);
	}
}

void screen_send(struct screen *s, const char *keys)
{
	cr_assert_eq(write(s->master, keys, strlen(keys)), (ssize_t)strlen(keys));
}

void screen_resize(struct screen *s, int rows, int columns)
{
	set_size(s, rows, columns);
}

bool screen_shows(const struct screen *s, const char *text)
{
	for (int row = 0; row < s->rows; row++)
		if (strstr(s->cell[row], text) != NULL)
			return true;
	return false;
}

const char *screen_text(const struct screen *s)
{
	static char text[SCREEN_ROWS * (SCREEN_COLUMNS + 1) + 1];
	size_t size = 0;

	for (int row = 0; row < s->rows; row++)
		size += (size_t)snprintf(text + size, sizeof(text) - size, "%.*s\n", s->columns,
					 s->cell[row]);
	return text;
}

/* Shows the output that comes within so long; false when none did. */
static bool read_some(struct screen *s, int milliseconds)
{
	struct pollfd fd = { .fd = s->master, .events = POLLIN };
	char text[4096];
	ssize_t n;

	if (poll(&fd, 1, milliseconds) != 1)
		return false;
	n = read(s->master, text, sizeof(text));
	if (n > 0)
		show(s, text, (size_t)n);
	return n > 0;
}

static bool reap(struct screen *s)
{
	int status;

	if (s->pid > 0 && waitpid(s->pid, &status, WNOHANG) == s->pid) {
		s->status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
		s->pid = 0;
	}
	return s->pid == 0;
}

void screen_wait_for(struct screen *s, const char *text)
{
	int waited = 0;

	while (!screen_shows(s, text)) {
		bool ended = reap(s), came = read_some(s, 50);

		cr_assert(came || !ended, "ended with status %d before it showed '%s':\n%s",
			  s->status, text, screen_text(s));
		waited += came ? 0 : 50;
		cr_assert_lt(waited, PATIENCE_MS, "'%s' did not come:\n%s", text, screen_text(s));
	}
}

void screen_finish(struct screen *s)
{
	struct termios after;
	int waited = 0;

	while (!reap(s)) {
		waited += read_some(s, 50) ? 0 : 50;
		cr_assert_lt(waited, PATIENCE_MS, "it does not end:\n%s", screen_text(s));
	}
	while (read_some(s, 0))
		;
	cr_assert_eq(tcgetattr(s->slave, &after), 0);
	cr_assert(after.c_iflag == s->before.c_iflag && after.c_oflag == s->before.c_oflag &&
			  after.c_cflag == s->before.c_cflag &&
			  after.c_lflag == s->before.c_lflag &&
			  memcmp(after.c_cc, s->before.c_cc, sizeof(after.c_cc)) == 0,
		  "the terminal's modes are not what they were");
	cr_assert(!s->alternate && !s->hidden, "the %s",
		  s->hidden ? "cursor is left hidden" : "other screen is left shown");
	close(s->master);
	close(s->slave);
}
