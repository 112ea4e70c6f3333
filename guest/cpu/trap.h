/*
 * Traps: exceptions, interrupts, and the frame that every entry to the kernel leaves on the
 * process's kernel stack.
 */
#ifndef GUEST_CPU_TRAP_H
#define GUEST_CPU_TRAP_H

#define VECTOR_DEBUG	     1
#define VECTOR_NMI	     2
#define VECTOR_BREAKPOINT    3
#define VECTOR_OVERFLOW	     4
#define VECTOR_INVALID	     6
#define VECTOR_NO_DEVICE     7 /* a vector instruction with CR0.TS */
#define VECTOR_DOUBLE_FAULT  8
#define VECTOR_PROTECTION    13
#define VECTOR_PAGE_FAULT    14
#define VECTOR_MACHINE_CHECK 18
#define VECTOR_EXCEPTIONS    32 /* how many there are */
#define VECTOR_TIMER	     0x30
#define VECTOR_INPUT	     0x31 /* QUIRE_VECTOR_INPUT */
#define VECTOR_RESCHEDULE    0x32 /* another CPU says: look at your work */
#define VECTOR_FLUSH	     0x33 /* another CPU says: flush */
#define VECTOR_DEVICE	     0x34 /* the first of DEVICE_MAX, for devices (device/virtio.h) */
#define VECTOR_LAST	     0x43
#define VECTOR_SPURIOUS	     0xff

#define CALL_COUNT 462 /* system calls: entry.S calls through call_table (call/table.c) */

#ifndef __ASSEMBLER__
#include "guest/lib/types.h"

struct trap_frame {
	uint64_t r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8, rax, rcx, rdx, rsi, rdi;
	uint64_t vector; /* or, of a system call, its number */
	uint64_t error;
	uint64_t rip, cs, rflags, rsp, ss;
};

/* Entry points of the vectors 0..VECTOR_LAST, 16 bytes apart (entry.S). */
extern const char trap_stubs[];
extern const char trap_debug[];
extern const char trap_page_fault[];
extern const char trap_spurious[];
extern const char trap_flush[];
extern const char syscall_entry[];
extern const char syscall_entry32[];

/* The functions that entry.S calls by name stand above this room: trap_handle(),
 * trap_handle_kernel() and work_before_return() in process/trap.c, thread_first_switch() and
 * idle_run() in process/schedule.c, call_table and call_unknown() in call/table.c. */

/* Begins ring 3 with this frame; the frame lies at the top of the current kernel stack. */
NORETURN void trap_return(struct trap_frame *frame);

static inline bool trap_from_user(const struct trap_frame *frame)
{
	return frame->cs & 3;
}
#endif
#endif
