/* The size of the system call table, for entry.S. Linux's numbers, see table.c. */
#ifndef GUEST_CALL_NUMBER_H
#define GUEST_CALL_NUMBER_H

#define CALL_COUNT 462

#endif
