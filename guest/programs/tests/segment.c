/*
 * Segmentation: a segment over a few bytes of this program, read in compatibility mode. Inside the
 * limit the base is added; one byte beyond it the processor refuses.
 *
 * Linked at a fixed address below 4 GiB, as all of these programs are: 32-bit code reaches it.
 */
#include "guest/programs/runtime/runtime.h"

#define SYS_RT_SIGRETURN 15
#define SYS_FORK	 57
#define SYS_MODIFY_LDT	 154
#define LIMIT		 63
#define SELECTOR	 7 /* entry 0 of the LDT, ring 3 */
#define SIGSEGV		 11

static uint8_t bytes[128];

/*
 * The byte at `offset` of the segment. An interrupt in compatibility mode may cost the upper half
 * of RSP: it is kept in memory.
 */
uint32_t segment_read(uint32_t selector, uint32_t offset);
__asm__(".text\n"
	"segment_read:\n"
	"	movq %rsp, 4f(%rip)\n"
	"	movl %edi, %ecx\n"
	"	movl %esi, %edx\n"
	"	ljmpl *3f(%rip)\n"
	"	.code32\n"
	"1:	movl %ecx, %es\n"
	"	movzbl %es:(%edx), %eax\n"
	"	xorl %ecx, %ecx\n"
	"	movl %ecx, %es\n"
	"	ljmp $0x33, $2f\n"
	"	.code64\n"
	"2:	movq 4f(%rip), %rsp\n"
	"	ret\n"
	"	.section .rodata\n"
	"3:	.long 1b, 0x23\n"
	"	.bss\n"
	"	.balign 8\n"
	"4:	.skip 8\n"
	"	.text\n");

/* In a child: its exit status, or 128 + the signal it died of. */
static int try(uint32_t offset)
{
	long child = syscall3(SYS_FORK, 0, 0, 0);
	int status = -1;

	if (child == 0)
		exit((int)segment_read(SELECTOR, offset));
	syscall6(SYS_WAIT4, child, (long)&status, 0, 0, 0, 0);
	return status & 0x7f ? 128 + (status & 0x7f) : status >> 8 & 0xff;
}

int main(int argc, char **argv)
{
	struct {
		uint32_t number, base, limit, flags;
	} descriptor = { 0, (uint32_t)(uint64_t)bytes, LIMIT, 0x41 };
	long error;
	int first, last, beyond;

	for (unsigned i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i + 1);
	error = syscall3(SYS_MODIFY_LDT, 0x11, &descriptor, sizeof(descriptor));
	if (error) {
		print("segment: modify_ldt: %ld\n", error);
		return 1;
	}
	first = try(0);
	last = try(LIMIT);
	beyond = try(LIMIT + 1);
	print("segment: offset 0 gives %d, offset %d gives %d, offset %d: %d\n", first, LIMIT, last,
	      LIMIT + 1, beyond);
	if (first == 128 + SIGSEGV && last == first) {
		print("SKIP: this host's processor does not take the guest's segments\n");
		return 0;
	}
	if (first == 1 && last == LIMIT + 1 && beyond == LIMIT + 2) {
		print("SKIP: this host's processor adds the base but enforces no limit\n");
		return 0;
	}
	if (first != 1 || last != LIMIT + 1 || beyond != 128 + SIGSEGV)
		return 1;
	print("segment: base and limit are enforced\n");
	return 0;
}
