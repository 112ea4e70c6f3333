/*
 * A Multiboot kernel that has a page of KVM's clock and waits until that says that the guest stood;
 * it says so, and switches off.
 */
#define MSR_CLOCK 0x4b564d01
#define FLAGS	  29 /* of struct pvclock_vcpu_time_info */
#define STOOD	  2

	.text
	.balign 4
	.long 0x1badb002, 0, -0x1badb002

	.code32
	.globl start
start:
	movl $stack, %esp
	movl $MSR_CLOCK, %ecx
	movl $clock + 1, %eax
	xorl %edx, %edx
	wrmsr
	movl $ready, %esi
	call put_text
waiting:
	pause
	testb $STOOD, clock + FLAGS
	jz waiting
	movl $stood, %esi
	call put_text
	movb $0x34, %al
	movl $0x600, %edx
	outb %al, %dx
stop:
	hlt
	jmp stop

put_text:
	lodsb
	testb %al, %al
	jz done
	movl $0x3f8, %edx
	outb %al, %dx
	jmp put_text
done:
	ret

ready:	.asciz "ready\n"
stood:	.asciz "stood\n"

	.bss
	.balign 64
clock:
	.space 64
	.space 4096
stack:
	.section .note.GNU-stack, "", @progbits
