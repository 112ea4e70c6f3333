/*
 * From a Multiboot loader into long mode, with the first 16 GiB where they are, and on to main() of
 * another file with the address of what the loader tells. Then switches the machine off.
 */
#define GIGABYTES 16
#define FLAGS	  0x3  /* present, writable */
#define LARGE	  0x80

	.text
	.balign 4
	.long 0x1badb002, 2, -(0x1badb002 + 2)

	.code32
	.globl start
start:
	movl $stack, %esp
	movl %ebx, %ebp
	/* One table of the third level, whose entries are tables of the second. */
	movl $level_3 + FLAGS, level_4
	movl $level_2 + FLAGS, %eax
	xorl %ecx, %ecx
table:
	movl %eax, level_3(, %ecx, 8)
	addl $4096, %eax
	incl %ecx
	cmpl $GIGABYTES, %ecx
	jb table
	/* Pages of 2 MiB, 64 bits an entry. */
	movl $FLAGS + LARGE, %eax
	xorl %edx, %edx
	xorl %ecx, %ecx
page:
	movl %eax, level_2(, %ecx, 8)
	movl %edx, level_2 + 4(, %ecx, 8)
	addl $0x200000, %eax
	adcl $0, %edx
	incl %ecx
	cmpl $GIGABYTES * 512, %ecx
	jb page

	movl $level_4, %eax
	movl %eax, %cr3
	movl $0x20, %eax /* PAE */
	movl %eax, %cr4
	movl $0xc0000080, %ecx
	rdmsr
	orl $0x100, %eax /* EFER.LME */
	wrmsr
	movl %cr0, %eax
	orl $0x80000000, %eax
	movl %eax, %cr0
	lgdt table_of_segments
	ljmp $8, $long_mode

	.code64
long_mode:
	movl $16, %eax
	movl %eax, %ds
	movl %eax, %es
	movl %eax, %ss
	movl $stack, %esp
	movl %ebp, %edi
	call main
	movb $0x34, %al
	movl $0x600, %edx
	outb %al, %dx
stop:
	hlt
	jmp stop

	.data
	.balign 8
segments:
	.quad 0, 0x00af9b000000ffff, 0x00cf93000000ffff
table_of_segments:
	.word . - segments - 1
	.quad segments

	.bss
	.balign 4096
level_4:
	.space 4096
level_3:
	.space 4096
level_2:
	.space 4096 * GIGABYTES
	.space 4096
stack:
	.section .note.GNU-stack, "", @progbits
