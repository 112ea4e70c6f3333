/*
 * A kernel for a PC, of a few instructions, so that it also runs where ring 0 is emulated: it has a
 * PVH note, or with MULTIBOOT defined a Multiboot 1 header. On its serial port, which it polls, it
 * tells what its loader gave it (the value of %eax, the command line, the module's first line) and
 * what nobody answers reads as; then it does as it is told, by the letter:
 *
 *   o  switch off              r  reset                k  reset, by the keyboard controller
 *   v  jump to the reset vector in real mode           t  a triple fault
 *   f  print without end       others are echoed
 */
#define LSR 0x3fd
#define THR 0x3f8

#ifdef MULTIBOOT
#define COMMAND_LINE(info) 16(info)
#define MODULE_COUNT(info) 20(info)
#define MODULES(info)	   24(info)

	.text
	.balign 4
	.long 0x1badb002, 3, -(0x1badb002 + 3)
#else
#define COMMAND_LINE(info) 24(info)
#define MODULE_COUNT(info) 12(info)
#define MODULES(info)	   16(info)

	.section .note.Xen, "a", @note
	.long 4, 4, 18
	.asciz "Xen"
	.long start
#endif

	.text
	.code32
	.globl start
start:
	movl $stack, %esp
	movl %eax, %ebp
	movl $hello, %esi
	call put_text
	movl %ebp, %eax
	call put_number
	movl $line, %esi
	call put_text
	movl COMMAND_LINE(%ebx), %esi
	call put_text
	movl $nothing, %esi
	call put_text
	movl 0xe0000000, %eax
	movl %eax, 0xe0000000
	call put_number
	movl $0x1234, %edx
	inl %dx, %eax
	outl %eax, %dx
	call put_number
	cmpl $0, MODULE_COUNT(%ebx)
	je listen
	movl $module, %esi
	call put_text
	movl MODULES(%ebx), %esi
	movl (%esi), %esi
	call put_line

listen:
	movl $prompt, %esi
	call put_text
next:
	movl $LSR, %edx
	inb %dx, %al
	testb $1, %al
	jz next
	movl $THR, %edx
	inb %dx, %al
	cmpb $'o', %al
	je off
	cmpb $'r', %al
	je reset
	cmpb $'k', %al
	je keyboard
	cmpb $'v', %al
	je vector
	cmpb $'t', %al
	je triple
	cmpb $'f', %al
	je flood
	call put
	jmp next

off:
	movb $0x34, %al
	movl $0x600, %edx
	outb %al, %dx
	jmp next
reset:
	movb $1, %al
	movl $0x602, %edx
	outb %al, %dx
	jmp next
keyboard:
	movb $0xfe, %al
	outb %al, $0x64
	jmp next
triple:
	lidt no_table
	ud2
flood:
	movb $'f', %al
	call put
	jmp flood

/* By way of 16-bit protected mode, whose segments real mode keeps. */
vector:
	movl $leave, %esi
	movl $0x7000, %edi
	movl $leave_end - leave, %ecx
	rep movsb
	lgdt table
	ljmp $8, $0x7000
	.code16
leave:
	movw $16, %ax
	movw %ax, %ds
	movw %ax, %ss
	movl %cr0, %eax
	andb $0xfe, %al
	movl %eax, %cr0
	ljmp $0xffff, $0
leave_end:
	.code32

/* The byte in %al. Keeps all registers but %edx. */
put:
	pushl %eax
	movl $LSR, %edx
wait:
	inb %dx, %al
	testb $0x20, %al
	jz wait
	popl %eax
	movl $THR, %edx
	outb %al, %dx
	ret

/* From %esi to a NUL, or to the end of the line. */
put_text:
	lodsb
	testb %al, %al
	jz done
	call put
	jmp put_text
put_line:
	lodsb
	cmpb $'\n', %al
	je done
	call put
	jmp put_line
done:
	ret

/* %eax in hexadecimal, and a space. Keeps %ebx and %ebp. */
put_number:
	movl $8, %ecx
	movl %eax, %edi
digit:
	roll $4, %edi
	movl %edi, %eax
	andl $15, %eax
	movb digits(%eax), %al
	call put
	decl %ecx
	jnz digit
	movb $' ', %al
	jmp put

hello:	.asciz "pc: eax "
line:	.asciz "\nline: "
nothing: .asciz "\nnothing: "
module:	.asciz "\nmodule: "
prompt:	.asciz "\n> "
digits:	.ascii "0123456789abcdef"
no_table:
	.word 0
	.long 0
	.balign 8
segments:
	.quad 0, 0x00009b000000ffff, 0x000093000000ffff
table:
	.word . - segments - 1
	.long segments

	.bss
	.space 4096
stack:
	.section .note.GNU-stack, "", @progbits
