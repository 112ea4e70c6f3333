/*
 * Kernels that end at once, each in its way. WAY is 1: a triple fault (an interrupt without an
 * IDT); 2: a read of guest-physical memory where nothing is; 3: an instruction that KVM's emulator
 * does not know, where it emulates ring 0, and elsewhere a triple fault.
 */
	.section .note.Xen, "a", @note
	.long 4, 4, 18
	.asciz "Xen"
	.long start

	.text
	.code32
	.globl start
start:
#if WAY == 1
	lidt no_table
	ud2
#elif WAY == 3
	lidt no_table
	popcntl %eax, %eax
	ud2
#else
	movl 0xe0000000, %eax
#endif
	hlt
	jmp start
no_table:
	.word 0
	.long 0
	.section .note.GNU-stack, "", @progbits
