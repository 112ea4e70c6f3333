/*
 * Traps. From ring 3 an exception is the program's own: a page fault is resolved or kills it, all
 * others kill it. From ring 0 only an access to a program's memory may fault; anything else is
 * quire's own failure.
 */
#include "guest/cpu/trap.h"
#include "guest/abi.h"
#include "guest/cpu/asm.h"
#include "guest/cpu/clock.h"
#include "guest/memory/fault.h"
#include "guest/memory/user.h"
#include "guest/monitor/doorbell.h"
#include "guest/process/process.h"
#include "guest/process/signal.h"

_Static_assert(VECTOR_LAST == QUIRE_VECTOR_INPUT, "the last stub is the monitor's vector");

#define PF_PRESENT  0x01
#define PF_WRITE    0x02
#define PF_USER	    0x04
#define PF_RESERVED 0x08
#define PF_EXEC	    0x10

static const struct exception {
	const char *name;
	int signal;
} exceptions[VECTOR_EXCEPTIONS] = {
	[0] = { "division error", SIGFPE },
	[1] = { "debug trap", SIGTRAP },
	[2] = { "NMI", 0 },
	[3] = { "breakpoint", SIGTRAP },
	[4] = { "overflow", SIGSEGV },
	[5] = { "bound range", SIGSEGV },
	[6] = { "invalid instruction", SIGILL },
	[7] = { "no FPU", SIGFPE },
	[8] = { "double fault", 0 },
	[10] = { "invalid TSS", SIGSEGV },
	[11] = { "segment not present", SIGBUS },
	[12] = { "stack segment", SIGBUS },
	[13] = { "general protection", SIGSEGV },
	[14] = { "page fault", SIGSEGV },
	[16] = { "x87 error", SIGFPE },
	[17] = { "alignment check", SIGBUS },
	[18] = { "machine check", 0 },
	[19] = { "SIMD error", SIGFPE },
	[21] = { "control protection", SIGSEGV },
};

void trap_log_frame(const struct trap_frame *f)
{
	log_line(QUIRE_LEVEL_ERROR,
		 "rip %016lx rsp %016lx rflags %08lx cs %lx vector %lu error %lx", f->rip, f->rsp,
		 f->rflags, f->cs, f->vector, f->error);
	log_line(QUIRE_LEVEL_ERROR, "rax %016lx rbx %016lx rcx %016lx rdx %016lx", f->rax, f->rbx,
		 f->rcx, f->rdx);
	log_line(QUIRE_LEVEL_ERROR, "rsi %016lx rdi %016lx rbp %016lx r8  %016lx", f->rsi, f->rdi,
		 f->rbp, f->r8);
	log_line(QUIRE_LEVEL_ERROR, "r9  %016lx r10 %016lx r11 %016lx r12 %016lx", f->r9, f->r10,
		 f->r11, f->r12);
	log_line(QUIRE_LEVEL_ERROR, "r13 %016lx r14 %016lx r15 %016lx cr3 %016lx", f->r13, f->r14,
		 f->r15, cr3_read());
}

static NORETURN void kernel_failure(const struct trap_frame *frame, uint64_t address)
{
	const char *name =
		frame->vector < VECTOR_EXCEPTIONS ? exceptions[frame->vector].name : NULL;

	trap_log_frame(frame);
	panic("%s in the kernel at %016lx, address %016lx", name ? name : "unexpected trap",
	      frame->rip, address);
}

static uint32_t fault_access(uint64_t error)
{
	return error & PF_EXEC ? AREA_EXEC : error & PF_WRITE ? AREA_WRITE : AREA_READ;
}

static void user_fault_failed(const struct trap_frame *frame, uint64_t address,
			      enum fault_result result)
{
	const char *access = frame->error & PF_EXEC    ? "execute"
			     : frame->error & PF_WRITE ? "write"
						       : "read";

	if (result == FAULT_NO_MEMORY)
		process_out_of_memory(address);
	else
		signal_fault(result == FAULT_PAST_END ? SIGBUS : SIGSEGV,
			     "%s of address %016lx at rip %016lx, rsp %016lx: %s", access, address,
			     frame->rip, frame->rsp,
			     address >= USER_END ? "not the program's half of the address space"
						 : fault_reason(result));
}

static void page_fault(struct trap_frame *frame)
{
	uint64_t address = cr2_read();
	enum fault_result result = FAULT_ACCESS;

	if (likely(address < USER_END && !(frame->error & PF_RESERVED) && current())) {
		result = fault_resolve(current_space(), address, fault_access(frame->error));
		if (likely(result == FAULT_DONE))
			return;
	}
	if (trap_from_user(frame)) {
		user_fault_failed(frame, address, result);
		return;
	}
	if (!user_fixup(&frame->rip))
		kernel_failure(frame, address);
	if (result == FAULT_NO_MEMORY)
		process_out_of_memory(address);
}

static void user_exception(const struct trap_frame *frame)
{
	const struct exception *exception = &exceptions[frame->vector];

	if (!exception->name || !exception->signal)
		kernel_failure(frame, cr2_read());
	signal_fault(exception->signal, "%s at rip %016lx, error %lx, rsp %016lx", exception->name,
		     frame->rip, frame->error, frame->rsp);
}

void trap_handle(struct trap_frame *frame)
{
	if (likely(frame->vector == VECTOR_PAGE_FAULT)) {
		page_fault(frame);
	} else if (frame->vector == VECTOR_TIMER) {
		interrupt_end();
	} else if (frame->vector == QUIRE_VECTOR_INPUT) {
		interrupt_end();
		process_wake(&console_input);
	} else if (trap_from_user(frame)) {
		user_exception(frame);
	} else if (frame->vector != 13 || !user_fixup(&frame->rip)) {
		/* #GP with a fixup: an address that is not canonical. */
		kernel_failure(frame, cr2_read());
	}
}

/* From entry.S, when the CPU's work flag is set on the way to ring 3. */
void work_before_return(struct trap_frame *frame);

void work_before_return(struct trap_frame *frame)
{
	signal_act();
}
