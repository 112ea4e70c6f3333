/*
 * Signal handlers: the frame on the program's stack, in Linux's form, and the way back from it.
 *
 * From the top: the vector state, siginfo, ucontext, the address of the restorer (which makes the
 * rt_sigreturn call). All that comes back from there is the program's word.
 */
#include "guest/lib/string.h"
#include "guest/memory/slab.h"
#include "guest/memory/user.h"
#include "guest/process/process.h"
#include "guest/process/segment.h"
#include "guest/process/vector.h"

#define SA_ONSTACK  0x08000000
#define SA_RESTORER 0x04000000

#define RED_ZONE       128
#define ALTERNATE_ON   1
#define ALTERNATE_NONE 2
#define FLAGS_OF_USER  0x240dd5 /* what a program may set */
#define FLAGS_ALWAYS   0x202
#define FLAG_DIRECTION 0x400
#define FLAG_TRAP      0x100
#define UCONTEXT_FLAGS 6 /* strict SS */

struct context {
	uint64_t flags, link;
	struct linux_sigaltstack stack;
	uint64_t r8, r9, r10, r11, r12, r13, r14, r15, rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip;
	uint64_t rflags;
	uint16_t cs, gs, fs, ss;
	uint64_t error, trap, old_mask, cr2, vector_state, reserved[8];
	uint64_t mask;
};

struct signal_frame {
	uint64_t restorer;
	struct context context;
	uint32_t info[32];
};

void handler_write_info(const struct signal_info *info, uint32_t words[32])
{
	memset(words, 0, 128);
	words[0] = info->signal;
	words[2] = info->code;
	switch (info->signal) {
	case SIGSEGV:
	case SIGBUS:
	case SIGILL:
	case SIGFPE:
	case SIGTRAP:
		if (info->code > 0 && info->code != SI_KERNEL) {
			memcpy(words + 4, &info->address, 8);
			return;
		}
		break;
	case SIGCHLD:
		words[6] = info->status;
		break;
	default:
		memcpy(words + 6, &info->address, 8);
	}
	words[4] = info->pid;
}

static bool on_alternate(const struct thread *thread, uint64_t rsp)
{
	return !(thread->alternate.flags & ALTERNATE_NONE) &&
	       rsp - thread->alternate.stack - 1 < thread->alternate.size;
}

static void save_registers(struct context *context, const struct trap_frame *frame)
{
	*context = (struct context){
		.flags = UCONTEXT_FLAGS,
		.stack = current()->alternate,
		.r8 = frame->r8,
		.r9 = frame->r9,
		.r10 = frame->r10,
		.r11 = frame->r11,
		.r12 = frame->r12,
		.r13 = frame->r13,
		.r14 = frame->r14,
		.r15 = frame->r15,
		.rdi = frame->rdi,
		.rsi = frame->rsi,
		.rbp = frame->rbp,
		.rbx = frame->rbx,
		.rdx = frame->rdx,
		.rax = frame->rax,
		.rcx = frame->rcx,
		.rsp = frame->rsp,
		.rip = frame->rip,
		.rflags = frame->rflags,
		.cs = (uint16_t)frame->cs,
		.ss = (uint16_t)frame->ss,
	};
}

static bool write_vector_state(uint64_t to)
{
	uint8_t *state = vector_buffer();
	bool done;

	if (!state)
		return false;
	vector_store(state);
	done = user_write(to, state, vector_length(state)) == 0;
	memory_free(state);
	return done;
}

bool handler_enter(struct trap_frame *frame, const struct linux_sigaction *action,
		   const struct signal_info *info, uint64_t mask)
{
	struct thread *thread = current();
	uint64_t stack = frame->rsp - RED_ZONE, state, at;
	struct signal_frame out;

	if (!(action->flags & SA_RESTORER))
		return false;
	if ((action->flags & SA_ONSTACK) && !(thread->alternate.flags & ALTERNATE_NONE) &&
	    !on_alternate(thread, frame->rsp))
		stack = thread->alternate.stack + thread->alternate.size;
	state = ROUND_DOWN(stack - vector_size, VECTOR_ALIGN);
	at = ROUND_DOWN(state - sizeof(out), 16) - 8;
	save_registers(&out.context, frame);
	out.context.stack.flags |= on_alternate(thread, frame->rsp) ? ALTERNATE_ON : 0;
	out.context.mask = out.context.old_mask = mask;
	out.context.vector_state = state;
	out.context.cr2 = info->address;
	out.restorer = action->restorer;
	handler_write_info(info, out.info);
	if (!write_vector_state(state) || user_write(at, &out, sizeof(out)))
		return false;
	frame->cs = SELECTOR_USER_CODE;
	frame->ss = SELECTOR_USER_DATA;
	frame->rip = action->handler;
	frame->rsp = at;
	frame->rdi = info->signal;
	frame->rsi = at + offsetof(struct signal_frame, info);
	frame->rdx = at + offsetof(struct signal_frame, context);
	frame->rax = 0;
	frame->rflags &= ~(uint64_t)(FLAG_DIRECTION | FLAG_TRAP);
	return frame->rip < USER_END;
}

static bool read_vector_state(uint64_t from)
{
	uint8_t *state = vector_buffer();
	uint32_t least = MIN(vector_size, VECTOR_LEAST), length;
	bool done;

	if (!state)
		return false;
	done = user_read(state, from, least) == 0;
	length = vector_length(state);
	if (done && length > least)
		done = user_read(state + least, from + least, length - least) == 0;
	done = done && vector_restore(state) == 0;
	memory_free(state);
	return done;
}

/* 64-bit code, or 32-bit code in a process that has segments; they may be new to this CPU. */
static bool may_run_at(const struct context *in)
{
	const uint64_t *ldt = current_process()->ldt;

	if (in->cs == SELECTOR_USER_CODE)
		return true;
	if (in->cs != SELECTOR_USER_CODE32 || !ldt || in->rip >> 32)
		return false;
	if (this_cpu()->ldt != ldt)
		segment_load(ldt);
	return true;
}

bool handler_return(struct trap_frame *frame)
{
	struct context in;

	/* RET took the restorer's address off the stack. */
	if (user_read(&in, frame->rsp, sizeof(in)) || in.rip >= USER_END || !may_run_at(&in))
		return false;
	if (in.vector_state && !read_vector_state(in.vector_state))
		return false;
	*frame = (struct trap_frame){
		.r15 = in.r15,
		.r14 = in.r14,
		.r13 = in.r13,
		.r12 = in.r12,
		.rbp = in.rbp,
		.rbx = in.rbx,
		.r11 = in.r11,
		.r10 = in.r10,
		.r9 = in.r9,
		.r8 = in.r8,
		.rax = in.rax,
		.rcx = in.rcx,
		.rdx = in.rdx,
		.rsi = in.rsi,
		.rdi = in.rdi,
		.rip = in.rip,
		.cs = in.cs,
		.rflags = (in.rflags & FLAGS_OF_USER) | FLAGS_ALWAYS,
		.rsp = in.rsp,
		.ss = SELECTOR_USER_DATA,
	};
	signal_block(in.mask);
	return true;
}
