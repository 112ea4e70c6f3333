/*
 * A Multiboot kernel that relies on what a PC's firmware leaves behind, and says what it finds: its
 * local APIC's spurious-interrupt register and the two lines', the masks of the interrupt
 * controllers; that no interrupt comes while it takes them, 150 ms by ACPI's timer, with no table to
 * take them by and the PIT at work; and that the second processor starts without more ado.
 */
#define APIC	   0xfee00000
#define SPURIOUS   0xf0
#define LINE_0	   0x350
#define LINE_1	   0x360
#define COMMAND	   0x300
#define COMMAND_TO 0x310
#define INIT	   0x4500
#define STARTUP	   0x4600
#define TIMER	   0x608
#define TICKS	   536932 /* in 150 ms */
#define TRAMPOLINE 0x8000

	.text
	.balign 4
	.long 0x1badb002, 0, -0x1badb002

	.code32
	.globl start
start:
	movl $stack, %esp
	movl $APIC, %ebx
	movl $apic, %esi
	call put_text
	movl SPURIOUS(%ebx), %eax
	call put_number
	movl LINE_0(%ebx), %eax
	call put_number
	movl LINE_1(%ebx), %eax
	call put_number
	movl $masks, %esi
	call put_text
	xorl %eax, %eax
	inb $0x21, %al
	movb %al, %ah
	inb $0xa1, %al
	call put_number

	/* The timer of the PC's first days, as seldom as it can: 18 times a second. */
	movb $0x34, %al
	outb %al, $0x43
	xorl %eax, %eax
	outb %al, $0x40
	outb %al, $0x40
	lidt no_table
	movl $TIMER, %edx
	inl %dx, %eax
	movl %eax, %ebp
	sti
again:
	inl %dx, %eax
	subl %ebp, %eax
	cmpl $TICKS, %eax
	jb again
	cli
	movl $quiet, %esi
	call put_text

	movl $second, %esi
	movl $TRAMPOLINE, %edi
	movl $second_end - second, %ecx
	cld
	rep movsb
	movl $1 << 24, COMMAND_TO(%ebx)
	movl $INIT, COMMAND(%ebx)
	movl $STARTUP + TRAMPOLINE / 4096, COMMAND(%ebx)
waiting:
	pause
	cmpb $0, TRAMPOLINE + started - second
	je waiting
	movl $both, %esi
	call put_text
	movb $0x34, %al
	movl $0x600, %edx
	outb %al, %dx
stop:
	hlt
	jmp stop

	.code16
second:
	movw %cs, %ax
	movw %ax, %ds
	movb $1, started - second
sleep:
	hlt
	jmp sleep
started:
	.byte 0
second_end:
	.code32

put_text:
	lodsb
	testb %al, %al
	jz done
	movl $0x3f8, %edx
	outb %al, %dx
	jmp put_text
done:
	ret

/* A space, and %eax in hexadecimal. Keeps %ebx. */
put_number:
	movl %eax, %edi
	movl $0x3f8, %edx
	movb $' ', %al
	outb %al, %dx
	movl $8, %ecx
digit:
	roll $4, %edi
	movl %edi, %eax
	andl $15, %eax
	movb digits(%eax), %al
	outb %al, %dx
	decl %ecx
	jnz digit
	ret

apic:	.asciz "apic"
masks:	.asciz "\nmasks"
quiet:	.asciz "\nquiet\n"
both:	.asciz "both run\n"
digits:	.ascii "0123456789abcdef"
no_table:
	.word 0
	.long 0

	.bss
	.space 4096
stack:
	.section .note.GNU-stack, "", @progbits
