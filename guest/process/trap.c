/*
 * Traps. From ring 3 an exception is the program's own: a page fault is resolved or kills it, all
 * others kill it. From ring 0 only an access to a program's memory may fault; anything else is
 * quire's own failure.
 */
#include "guest/abi.h"
#include "guest/cpu/clock.h"
#include "guest/cpu/trap.h"
#include "guest/lib/asm.h"
#include "guest/memory/fault.h"
#include "guest/memory/user.h"
#include "guest/monitor/doorbell.h"
#include "guest/process/process.h"
#include "guest/process/sample.h"
#include "guest/process/signal.h"
#include "guest/process/vector.h"

/* From entry.S, interrupts off: of ring 3, under the kernel lock; and of the kernel itself. */
void trap_handle(struct trap_frame *frame);
void trap_handle_kernel(struct trap_frame *frame);

_Static_assert(VECTOR_INPUT == QUIRE_VECTOR_INPUT, "the monitor's vector");
_Static_assert(VECTOR_LAST == VECTOR_DEVICE + DEVICE_MAX - 1, "a vector for each device");

#define PF_PRESENT  0x01
#define PF_WRITE    0x02
#define PF_USER	    0x04
#define PF_RESERVED 0x08
#define PF_EXEC	    0x10

static const struct exception {
	const char *name;
	int signal, code;
} exceptions[VECTOR_EXCEPTIONS] = {
	[0] = { "division error", SIGFPE, FPE_INTDIV },
	[1] = { "debug trap", SIGTRAP, TRAP_TRACE },
	[2] = { "NMI", 0 },
	[3] = { "breakpoint", SIGTRAP },
	[4] = { "overflow", SIGSEGV },
	[5] = { "bound range", SIGSEGV },
	[6] = { "invalid instruction", SIGILL, ILL_ILLOPN },
	[7] = { "no FPU", SIGFPE },
	[8] = { "double fault", 0 },
	[10] = { "invalid TSS", SIGSEGV },
	[11] = { "segment not present", SIGBUS },
	[12] = { "stack segment", SIGBUS },
	[13] = { "general protection", SIGSEGV },
	[14] = { "page fault", SIGSEGV },
	[16] = { "x87 error", SIGFPE, FPE_FLTINV },
	[17] = { "alignment check", SIGBUS, BUS_ADRALN },
	[18] = { "machine check", 0 },
	[19] = { "SIMD error", SIGFPE, FPE_FLTINV },
	[21] = { "control protection", SIGSEGV },
};

/* Every register of a frame, as log lines. */
static void log_frame(const struct trap_frame *f)
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

	log_frame(frame);
	panic("%s in the kernel at %016lx, address %016lx", name ? name : "unexpected trap",
	      frame->rip, address);
}

static uint32_t fault_access(uint64_t error)
{
	return error & PF_EXEC ? AREA_EXEC : error & PF_WRITE ? AREA_WRITE : AREA_READ;
}

/* The signal that tells of a failed fault. */
static struct signal_info fault_info(enum fault_result result, uint64_t address)
{
	struct signal_info info = { .signal = SIGSEGV, .code = SEGV_MAPERR, .address = address };

	if (result == FAULT_PAST_END) {
		info.signal = SIGBUS;
		info.code = BUS_ADRERR;
	} else if (result == FAULT_ACCESS && address < USER_END) {
		info.code = SEGV_ACCERR;
	}
	return info;
}

static void user_fault_failed(const struct trap_frame *frame, uint64_t address,
			      enum fault_result result)
{
	struct signal_info info = fault_info(result, address);
	const char *access = frame->error & PF_EXEC    ? "execute"
			     : frame->error & PF_WRITE ? "write"
						       : "read";

	/* One that was killed is not gone yet: after it the access is tried again. */
	if (result == FAULT_NO_MEMORY && spaces_doomed && !current_space()->doomed)
		this_cpu()->work |= WORK_YIELD;
	else if (result == FAULT_NO_MEMORY)
		process_out_of_memory(address);
	else
		signal_fault(&info, "%s of address %016lx at rip %016lx, rsp %016lx: %s", access,
			     address, frame->rip, frame->rsp,
			     address >= USER_END ? "not the program's half of the address space"
						 : fault_reason(result));
}

static bool is_user_fault(const struct trap_frame *frame, uint64_t address)
{
	return likely(address < USER_END && !(frame->error & PF_RESERVED) && current_space());
}

static void user_exception(const struct trap_frame *frame)
{
	const struct exception *exception = &exceptions[frame->vector];
	struct signal_info info = { .signal = exception->signal,
				    .code = exception->code ? exception->code : SI_KERNEL,
				    .address = frame->rip };

	if (frame->vector == VECTOR_NO_DEVICE) {
		if (!vector_first_use())
			process_out_of_memory(frame->rip);
		return;
	}
	if (!exception->name || !exception->signal)
		kernel_failure(frame, cr2_read());
	signal_fault(&info, "%s at rip %016lx, error %lx, rsp %016lx", exception->name, frame->rip,
		     frame->error, frame->rsp);
}

static void interrupt(const struct trap_frame *frame)
{
	if (frame->vector == VECTOR_TIMER)
		this_cpu()->events |= EVENT_TIMER;
	else if (frame->vector == VECTOR_INPUT)
		this_cpu()->events |= EVENT_INPUT;
	else if (frame->vector >= VECTOR_DEVICE)
		this_cpu()->events |= EVENT_DEVICE << (frame->vector - VECTOR_DEVICE);
	interrupt_end();
}

void trap_handle(struct trap_frame *frame)
{
	if (likely(frame->vector == VECTOR_PAGE_FAULT)) {
		uint64_t address = cr2_read();
		enum fault_result result = FAULT_ACCESS;

		if (is_user_fault(frame, address))
			result =
				fault_resolve(current_space(), address, fault_access(frame->error));
		if (unlikely(result != FAULT_DONE))
			user_fault_failed(frame, address, result);
		sample_return(frame);
	} else if (frame->vector >= VECTOR_TIMER) {
		if (frame->vector == VECTOR_TIMER)
			sample_interrupt(frame);
		interrupt(frame);
		events_handle();
	} else {
		user_exception(frame);
		sample_return(frame);
	}
}

/* An access to a program's memory may fault: #PF, or #GP for an address that is not canonical. */
void trap_handle_kernel(struct trap_frame *frame)
{
	uint64_t address = cr2_read();

	if (frame->vector >= VECTOR_TIMER) {
		interrupt(frame);
		user_fixup(&frame->rip);
		return;
	}
	if (frame->vector == VECTOR_PAGE_FAULT && is_user_fault(frame, address) &&
	    fault_resolve_now(current_space(), address, fault_access(frame->error)) == FAULT_DONE)
		return;
	if ((frame->vector != VECTOR_PAGE_FAULT && frame->vector != 13) || !user_fixup(&frame->rip))
		kernel_failure(frame, address);
}

/* From entry.S, when the CPU's work is not 0 on the way to ring 3. The thread may come back on
 * another CPU. */
void work_before_return(struct trap_frame *frame, bool from_call);

void work_before_return(struct trap_frame *frame, bool from_call)
{
	uint64_t work;

	while ((work = this_cpu()->work) != 0) {
		this_cpu()->work = 0;
		if (work & WORK_YIELD)
			thread_yield();
		if ((work & WORK_SIGNAL) || (this_cpu()->work & WORK_SIGNAL)) {
			this_cpu()->work &= ~WORK_SIGNAL;
			signal_act(frame, from_call);
			sample_return(frame);
			from_call = false;
		}
	}
}
