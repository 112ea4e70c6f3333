/*
 * The interface between quire and the monitor. Shared by both sides, so only fixed-width integers:
 * a guest pointer is an integer on the monitor's side, and every length is hostile there.
 *
 * Boot: quire is an ELF64 with a PVH note (XEN_ELFNOTE_PHYS32_ENTRY): entered in 32-bit protected
 * mode, paging off, interrupts off, %ebx = guest-physical address of struct hvm_start_info
 * (Xen's, version 1), which carries the command line, the memory map and one module: the root
 * archive (cpio "newc"). Regular files' data in it starts at a page boundary of the archive, and
 * the archive at a page boundary of memory, so that quire maps file pages where they lie. Zeros
 * follow the data up to the next page boundary, where the next header stands.
 *
 * Command line: words separated by spaces; a backslash takes the next character literally, but \0
 * is nothing, so that a word of it alone is an empty one. Words before "--": options (init=PATH,
 * verbose). Words after it: argv of init, argv[0] first; or, where the line would be too long, the
 * option arguments=PATH names a file of the archive that has them, each with a zero behind it. That
 * file is gone before init runs.
 *
 * Devices: an option virtio_mmio.device=SIZE@BASE:LINE for each (Linux's form; SIZE and BASE in
 * decimal or 0x, perhaps with K, M or G; a further :NUMBER is ignored) says that the registers of a
 * virtio device (version 2) are at BASE, and that it interrupts at a rising edge of line LINE of
 * the I/O APIC at 0xfec00000. At most 16, each on a line of its own. A word that is wrong, or that
 * names a place where no such device answers, is logged and ignored.
 *
 * Contract: memory never handed out reads as zero. So first use needs no clearing, and must not
 * clear, for a clear touches the page early.
 *
 * Doorbell: quire fills a struct quire_request, aligned to 64 bytes, and writes its physical
 * address >> 6 as 32 bits to QUIRE_PORT_DOORBELL. When the instruction ends, result is set.
 * One exit a request: batch.
 */
#ifndef GUEST_ABI_H
#define GUEST_ABI_H

#define QUIRE_PORT_DOORBELL 0xb1f0
#define QUIRE_REQUEST_SHIFT 6

#define QUIRE_ABI_VERSION 2

/* CPUs: APIC ids count from 0. CPU 0 enters at the PVH entry; the others wait for INIT and SIPI, as
 * on a PC. */
#define QUIRE_CPU_MAX 8

enum quire_op {
	/* arg0 = QUIRE_ABI_VERSION. Result 0, and the monitor sets arg0 = how many CPUs there are
	 * (1..QUIRE_CPU_MAX) and arg1 = QUIRE_HOST_* bits; or -EPROTO: it stops the VM and says
	 * why. */
	QUIRE_OP_HELLO = 1,
	/* Write the segments' bytes to the monitor's standard output (arg0 = 1) or error (arg0 =
	 * 2). Result: bytes written (all, unless an error came first) or -errno, -EPIPE if closed.
	 */
	QUIRE_OP_WRITE = 2,
	/* Read from the monitor's standard input into the segments. Result: bytes read, 0 at the
	 * end of input, or -EAGAIN: nothing there now; then QUIRE_VECTOR_INPUT is raised once when
	 * there is, or when input ends. Never blocks. */
	QUIRE_OP_READ = 3,
	/* A line of the kernel's, without newline. arg0 = enum quire_level. */
	QUIRE_OP_LOG = 4,
	/* The first user instruction is next. */
	QUIRE_OP_USER_START = 5,
	/* Init is gone. arg0 = exit status 0..255, or arg1 = signal number that killed it. Never
	 * returns: the VM stops. */
	QUIRE_OP_EXIT = 6,
	/* The kernel itself failed; segment 0 = message. Never returns. */
	QUIRE_OP_PANIC = 7,
	/* init could not be executed; arg0 = errno, segment 0 = message. Never returns. */
	QUIRE_OP_NO_INIT = 8,
	/* The segments' pages (whole pages, or -EINVAL) hold nothing any more: they read as zeros
	 * from now on, and their host memory is given back. Result 0 or -errno. */
	QUIRE_OP_RELEASE = 9,
	/* Sleep until an interrupt is pending. To be rung with interrupts enabled by the
	 * instruction before, as HLT would be. HLT itself does not leave the guest: it would keep
	 * the processor. */
	QUIRE_OP_WAIT = 10,
	/* Another CPU holds the lock that this one spins for: give the host's processor away.
	 * Result 0. */
	QUIRE_OP_YIELD = 11,
	/* With QUIRE_HOST_KEEPS_VECTOR: the vector state of the CPU that rings (x87, SSE, AVX) goes
	 * to arg0 and then becomes what lies at arg1, in XSAVE's standard form. They are physical
	 * addresses; 0 leaves that half out. Segment 0's length is that of each, 576 to
	 * QUIRE_VECTOR_MAX bytes. Result 0 or -errno. */
	QUIRE_OP_VECTOR = 12,
};

/* Properties of the host that CPUID does not show. */
#define QUIRE_HOST_EMULATES	1 /* ring 0 is emulated: some instructions are missing there */
#define QUIRE_HOST_KEEPS_VECTOR 2 /* QUIRE_OP_VECTOR does what XSAVE and XRSTOR would */

enum quire_level {
	QUIRE_LEVEL_ERROR = 0, /* always shown */
	QUIRE_LEVEL_INFO = 1,  /* with -v */
	QUIRE_LEVEL_DEBUG = 2, /* with -vv */
};

#define QUIRE_SEGMENT_MAX 32
#define QUIRE_VECTOR_MAX  4096
#define QUIRE_LOG_MAX	  512 /* bytes of a LOG, PANIC or NO_INIT message */

/* Interrupt vector the monitor raises (as an MSI to CPU 0) when awaited input has come. */
#define QUIRE_VECTOR_INPUT 0x31

#ifndef __ASSEMBLER__
#include <stdint.h>

struct quire_segment {
	uint64_t gpa;
	uint64_t length; /* bytes; may cross pages only where physically contiguous */
};

struct quire_request {
	uint32_t op;
	uint32_t segment_count;
	int64_t result;
	uint64_t arg0;
	uint64_t arg1;
	struct quire_segment segment[QUIRE_SEGMENT_MAX];
} __attribute__((aligned(64)));
#endif

#endif
