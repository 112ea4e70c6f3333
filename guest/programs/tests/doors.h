/*
 * Shared by the two halves of `doors`: how an attempt is made, and the groups of the second half.
 */
#ifndef GUEST_PROGRAMS_TESTS_DOORS_H
#define GUEST_PROGRAMS_TESTS_DOORS_H

#include "guest/programs/runtime/tasks.h"

#define CODE32	    0x23
#define CODE64	    0x33
#define DATA	    0x2b
#define LDT_FIRST   7 /* entry 0 of the LDT, ring 3 */
#define LOW_PAGES   0x10000000ul
#define LOW_STACK   (LOW_PAGES + 3 * PAGE - 64)
#define USER_END    0x7ffffffff000ul
#define HOLE_START  0x800000000000ul
#define HOLE_END    0xffff800000000000ul
#define KERNEL_TEXT 0xffffffff80200000ul
#define AROUND	    0x10000ul
#define FLAG_IOPL   0x3000
#define CAME_BACK   77 /* a child's exit status */

/* Words of the context on a signal's frame. */
enum { CONTEXT_RAX = 18, CONTEXT_RSP = 20, CONTEXT_RIP = 21, CONTEXT_FLAGS = 22, CONTEXT_CS = 23 };

/* One page, writable and executable, below 4 GiB. */
extern uint8_t *code;

/*
 * Calls the code with all general registers but RSP at `value`: 0 when it comes back, else the
 * signal. The handler sends a fault to door_back.
 */
int door_try(const void *what, uint64_t value);
void door_back(void);
extern uint64_t door_stack, door_open;

/* Still ring 3, without the right to ports; and the kernel answers. Counts the attempt. */
void check_ring(const char *what);

struct instruction {
	const char *name;
	uint8_t length;
	bool harmless; /* may do nothing */
	uint8_t bytes[12];
};

void try_bytes(const struct instruction *door, uint64_t value);

/* How a child that runs the body without handlers ends: its wait status. */
int ends_bare(void (*body)(void));

/* Groups of doors_segment.c. */
void gates(void);
void compat(void);
void iret(void);
void stack_segment(void);

#endif
