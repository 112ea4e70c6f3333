/*
 * The ways into the kernel and out of it. Interrupts are off in all of it. All returns are by
 * IRETQ: it can return to any state, and SYSRET is not available on every host.
 *
 * Instructions are counted here: on a host that emulates ring 0 they are the cost of a call.
 */
#include "guest/cpu/cpu.h"
#include "guest/cpu/trap.h"

/* In struct trap_frame. */
#define FRAME_R10 56
#define FRAME_R9  64
#define FRAME_R8  72
#define FRAME_RAX 80
#define FRAME_RDX 96
#define FRAME_RSI 104
#define FRAME_RDI 112
#define FRAME_CS  144

#define SYSCALL_LENGTH 2
#define IRET_FRAME 40 /* what IRETQ takes; it stays there when it faults */
#define IRET_CS	   8
#define IRET_SS	   32

	.text

.macro push_registers
	pushq %rdi
	pushq %rsi
	pushq %rdx
	pushq %rcx
	pushq %rax
	pushq %r8
	pushq %r9
	pushq %r10
	pushq %r11
	pushq %rbx
	pushq %rbp
	pushq %r12
	pushq %r13
	pushq %r14
	pushq %r15
.endm

.macro pop_registers
	popq %r15
	popq %r14
	popq %r13
	popq %r12
	popq %rbp
	popq %rbx
	popq %r11
	popq %r10
	popq %r9
	popq %r8
	popq %rax
	popq %rcx
	popq %rdx
	popq %rsi
	popq %rdi
.endm

/* SYSCALL pushes nothing: the kernel's stack, and on it what a trap would push. rcx return address,
 * r11 flags; the stack is the program's. */
.macro begin_syscall code
	swapgs
	movq %rsp, %gs:CPU_USER_STACK
	movq %gs:CPU_KERNEL_STACK, %rsp
	pushq $SELECTOR_USER_DATA
	pushq %gs:CPU_USER_STACK
	pushq %r11
	pushq $\code
	pushq %rcx
.endm

/* SYSCALL: rax number, rdi rsi rdx r10 r8 r9 arguments. */
	.globl syscall_entry
	.balign 16
syscall_entry:
	begin_syscall SELECTOR_USER_CODE
	pushq $0
	pushq %rax
	push_registers
syscall_common:
	lock btsl $0, kernel_lock(%rip)
	jc syscall_wait
syscall_locked:
	cmpq $CALL_COUNT, %rax
	jae syscall_unknown
	movq %r10, %rcx
	call *call_table(, %rax, 8)
syscall_done:
	movq %rax, FRAME_RAX(%rsp)
	cmpq $0, %gs:CPU_WORK
	jne syscall_work
user_return:
	movl $0, kernel_lock(%rip)
user_leave:
	pop_registers
	addq $16, %rsp
	swapgs
user_iretq:
	iretq

/*
 * A program's segments may not be what they were when it was interrupted: another thread has changed
 * the LDT. Then IRETQ faults, in ring 0 with the program's GS. 64-bit code has no use for its stack's
 * segment and gets the usual one; else it is the program's fault, at the instruction that it does not
 * get back to.
 */
user_return_failed:
	swapgs
	movq %gs:CPU_KERNEL_STACK, %rsp
	subq $IRET_FRAME, %rsp
	cmpq $SELECTOR_USER_DATA, IRET_SS(%rsp)
	je 1f
	cmpq $SELECTOR_USER_CODE, IRET_CS(%rsp)
	jne 1f
	movq $SELECTOR_USER_DATA, IRET_SS(%rsp)
	swapgs
	jmp user_iretq
1:	pushq $0
	pushq $VECTOR_PROTECTION
	push_registers
	jmp user_trap

syscall_unknown:
	movq %rax, %rdi
	call call_unknown
	jmp syscall_done

syscall_wait:
	call kernel_lock_take
	movq FRAME_RAX(%rsp), %rax
	movq FRAME_RDI(%rsp), %rdi
	movq FRAME_RSI(%rsp), %rsi
	movq FRAME_RDX(%rsp), %rdx
	movq FRAME_R10(%rsp), %r10
	movq FRAME_R8(%rsp), %r8
	movq FRAME_R9(%rsp), %r9
	jmp syscall_locked

syscall_work:
	movl $1, %esi
	jmp 1f
user_work:
	xorl %esi, %esi
1:	movq %rsp, %rdi
	call work_before_return
	jmp user_return

/* SYSCALL of 32-bit code, where the processor has it: no more than an invalid instruction, which it
 * is on others. */
	.globl syscall_entry32
	.balign 16
syscall_entry32:
	begin_syscall SELECTOR_USER_CODE32
	subq $SYSCALL_LENGTH, (%rsp)
	pushq $0
	pushq $VECTOR_INVALID
	push_registers
	jmp user_trap

/* void trap_return(struct trap_frame *): ring 3 for the first time. */
	.globl trap_return
trap_return:
	movq %rdi, %rsp
	jmp user_return

/* The ends of switch_stack() for a thread that was never switched from: its stack holds its frame,
 * or nothing. */
	.globl thread_first_return, idle_first_return
thread_first_return:
	call thread_first_switch
	cmpq $0, %gs:CPU_WORK
	jne user_work
	jmp user_return
idle_first_return:
	call idle_run

/*
 * A host that runs ring 3 itself and emulates ring 0 may carry out a SYSCALL but for the change of
 * privilege: the program is at syscall_entry in ring 3, rcx and r11 set, and faults there, for the page
 * is the kernel's. Such a fault is the system call. A program that jumps there by itself gets a
 * system call too, so rcx and r11 are its word: an address that IRETQ cannot go to stays a fault,
 * and flags are cut to what a program may set. rcx stays as SYSCALL leaves it (process/sample.h).
 */
#define FLAGS_OF_USER  0x240dd5
#define FLAGS_OF_ALL   0x202
#define USER_END_HIGH 0x8000 /* the upper half of the first address that is not canonical */
	.balign 16
trap_page_fault:
	cmpq $syscall_entry, 8(%rsp)
	jne 1f
	movq %rcx, 8(%rsp)
	cmpl $USER_END_HIGH, 12(%rsp)
	jae 2f
	swapgs
	cld
	andl $FLAGS_OF_USER, %r11d
	orl $FLAGS_OF_ALL, %r11d
	movq %r11, 24(%rsp)
	pushq %rax
	push_registers
	jmp syscall_common
2:	movq $syscall_entry, 8(%rsp)
1:	pushq $VECTOR_PAGE_FAULT
	jmp trap_common

/*
 * A debug trap. Some processors trap behind a SYSCALL that began with the trap flag set, although
 * SYSCALL has cleared it: in ring 0, before the first instruction, with the program's stack and GS.
 * So there is a stack for it (IST), and that trap is nothing: r11 has the flag for the way back.
 * One of ring 3 moves to the thread's stack, unless the host has put it there.
 */
	.balign 16
	.globl trap_debug
trap_debug:
	testb $3, IRET_CS(%rsp)
	jnz 2f
	cmpq $syscall_entry, (%rsp)
	je 1f
	cmpq $syscall_entry32, (%rsp)
	je 1f
	pushq $0
	pushq $VECTOR_DEBUG
	jmp kernel_trap
1:	iretq
2:	swapgs
	addq $IRET_FRAME, %rsp
	cmpq %gs:CPU_KERNEL_STACK, %rsp
	leaq -IRET_FRAME(%rsp), %rsp
	je 3f
	pushq %rax
	movq %rsp, %rax
	movq %gs:CPU_KERNEL_STACK, %rsp
	pushq 40(%rax)
	pushq 32(%rax)
	pushq 24(%rax)
	pushq 16(%rax)
	pushq 8(%rax)
	movq (%rax), %rax
3:	pushq $0
	pushq $VECTOR_DEBUG
	push_registers
	jmp user_trap

/* One stub a vector; those for which the processor pushes no error code push a zero. */
	.balign 16
	.globl trap_stubs, trap_page_fault
trap_stubs:
	.set vector, 0
	.rept VECTOR_LAST + 1
	.balign 16
	.if vector != 8 && vector != 10 && vector != 11 && vector != 12 && vector != 13 && \
		vector != 14 && vector != 17 && vector != 21 && vector != 29 && vector != 30
	pushq $0
	.endif
	pushq $vector
	jmp trap_common
	.set vector, vector + 1
	.endr

	.balign 16
trap_common:
	testb $3, 24(%rsp)			/* CS of what was interrupted */
	jz kernel_trap
	swapgs
	push_registers
user_trap:
	cld
	cmpb $0, cpu_smap(%rip)
	jne 8f
1:	lock btsl $0, kernel_lock(%rip)
	jc 9f
2:	movq %rsp, %rdi
	call trap_handle
	cmpq $0, %gs:CPU_WORK
	jne user_work
	jmp user_return
8:	clac
	jmp 1b
9:	call kernel_lock_take
	jmp 2b

/* From the kernel itself: an access to a program's memory, under the lock; or an interrupt of the
 * idle thread, without it. */
kernel_trap:
	cmpq $user_iretq, 16(%rsp)
	je user_return_failed
	push_registers
	cld
	movq %rsp, %rdi
	call trap_handle_kernel
	pop_registers
	addq $16, %rsp
	iretq

/* Another CPU waits for this one's TLB: answered without the lock, which the other one has. */
	.balign 16
	.globl trap_flush
trap_flush:
	pushq $0
	pushq $VECTOR_FLUSH
	testb $3, 24(%rsp)
	jz 1f
	swapgs
1:	push_registers
	cld
	call tlb_answer
	call interrupt_end
	testb $3, FRAME_CS(%rsp)
	jnz user_leave
	pop_registers
	addq $16, %rsp
	iretq

	.globl trap_spurious
trap_spurious:
	iretq

/* void switch_stack(uint64_t *old, uint64_t new): saves what C expects kept, changes stacks. */
	.globl switch_stack
switch_stack:
	pushq %rbx
	pushq %rbp
	pushq %r12
	pushq %r13
	pushq %r14
	pushq %r15
	movq %rsp, (%rdi)
	movq %rsi, %rsp
	popq %r15
	popq %r14
	popq %r13
	popq %r12
	popq %rbp
	popq %rbx
	ret

/* long user_copy_raw(void *to, const void *from, size_t length): bytes not copied. Either side may
 * fault; the fixup table sends the fault to the end with what is left in rcx. */
	.globl user_copy_raw
user_copy_raw:
	movq %rdx, %rcx
	andl $7, %edx
	shrq $3, %rcx
copy_words:
	rep movsq
	movl %edx, %ecx
copy_bytes:
	rep movsb
	xorl %eax, %eax
	ret
copy_words_fault:
	leaq (%rdx, %rcx, 8), %rax
	ret
copy_bytes_fault:
	movq %rcx, %rax
	ret

/* long user_clear_raw(void *to, size_t length): bytes not cleared. */
	.globl user_clear_raw
user_clear_raw:
	movq %rsi, %rcx
	movl %esi, %edx
	andl $7, %edx
	shrq $3, %rcx
	xorl %eax, %eax
clear_words:
	rep stosq
	movl %edx, %ecx
clear_bytes:
	rep stosb
	ret

	.section .fixup_table, "a"
	.quad copy_words, copy_words_fault
	.quad copy_bytes, copy_bytes_fault
	.quad clear_words, copy_words_fault
	.quad clear_bytes, copy_bytes_fault

	.section .note.GNU-stack, "", @progbits
