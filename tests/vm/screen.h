/*
 * A terminal for programs that draw: a pseudo-terminal, and what its screen would show, by the
 * control sequences of xterm and of the VT100.
 */
#ifndef TESTS_VM_SCREEN_H
#define TESTS_VM_SCREEN_H

#include <stdbool.h>
#include <sys/types.h>
#include <termios.h>

#define SCREEN_ROWS    60
#define SCREEN_COLUMNS 200

struct screen {
	int master, slave; /* slave stays open, so that its modes can be read to the end */
	pid_t pid;
	int rows, columns;
	int row, column; /* the cursor, from 0 */
	int top, bottom; /* of the part that scrolls */
	int saved_row, saved_column;
	bool alternate, hidden, coloured; /* other screen; no cursor; a colour was ever set */
	bool wrap;			  /* the cursor waits behind the last column */
	char cell[SCREEN_ROWS][SCREEN_COLUMNS + 1];
	char pending[256]; /* a sequence that is not complete */
	size_t pending_size;
	struct termios before; /* its modes at the start */
	int status;	       /* after screen_finish(): exit status, or 128 + signal */
};

/* Starts argv there. TERM is type. Fails the test where it cannot. */
void screen_start(struct screen *screen, const char *type, int rows, int columns,
		  const char *const *argv);

void screen_send(struct screen *screen, const char *keys);
void screen_resize(struct screen *screen, int rows, int columns);

/* Reads until the screen shows the text in one row, or fails the test when the program ends. */
void screen_wait_for(struct screen *screen, const char *text);
bool screen_shows(const struct screen *screen, const char *text);
/* All rows, in memory that is reused. */
const char *screen_text(const struct screen *screen);

/* Reads to its end, reaps it, and sees that the terminal's modes are as they were. */
void screen_finish(struct screen *screen);

#endif
