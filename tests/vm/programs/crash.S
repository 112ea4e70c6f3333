/*
 * Kernels that end at once, each in its way. WAY is 1: a triple fault (an interrupt without an
 * IDT); 2: a read of guest-physical memory where nothing is.
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
#else
	movl 0xd0000000, %eax
#endif
	hlt
	jmp start
no_table:
	.word 0
	.long 0
	.section .note.GNU-stack, "", @progbits
