/* Puts a CPU to sleep. */
	.text

/* void wait_by_halt(void), void wait_by_port(uint32_t value, uint16_t port): until an interrupt came.
 * STI takes effect after the instruction behind it, so none is missed. QEMU's SVM forgets that when the
 * guest leaves in between; so an interrupt before the wait ends it, by the fixup table. */
	.globl wait_by_halt
wait_by_halt:
	sti
halt_begins:
	hlt
halt_ended:
	cli
	ret

	.globl wait_by_port
wait_by_port:
	movl %edi, %eax
	movl %esi, %edx
	sti
port_begins:
	outl %eax, %dx
port_ended:
	cli
	ret

	.section .fixup_table, "a"
	.quad halt_begins, halt_ended
	.quad port_begins, port_ended

	.section .note.GNU-stack, "", @progbits
