/*
 * The screen of 'bifold top', with ncurses: opening it, drawing on it, and leaving the terminal as
 * it was, also when this program dies of a signal that is its own fault. (Nothing helps against
 * SIGKILL.) One a process, as terminals are.
 */
#ifndef VMM_ASK_TOP_SCREEN_H
#define VMM_ASK_TOP_SCREEN_H

#include "vmm/ask/top_model.h"

enum top_key {
	TOP_KEY_NONE, /* no more for now */
	TOP_KEY_OTHER,
	TOP_KEY_REDRAW, /* the terminal has another size, or was away */
	TOP_KEY_QUIT,
	TOP_KEY_PAUSE,
	TOP_KEY_BUDGET_LESS,
	TOP_KEY_BUDGET_MORE,
	TOP_KEY_BALLOON_LESS,
	TOP_KEY_BALLOON_MORE,
};

/* 0 or -errno, with a line logged: no terminal, or none that can be drawn on. */
int top_screen_open(void);

/* For top_screen_open(). */
void top_screen_colours(void);

/* Puts the terminal back as it was. Also when it is not open. */
void top_screen_close(void);

/* The next key that was pressed; does not wait. */
enum top_key top_screen_key(void);

/* Draws all of it. path: of the socket; message: the last line, or "" for the keys. */
void top_screen_draw(const struct top_model *model, const char *path, const char *message);

#endif
