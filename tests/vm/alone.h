/* Quire in QEMU, without bifold: a plain PC, or QEMU's microvm, which has virtio devices over MMIO
 * as bifold has. Another implementation of both, to try quire's drivers on. */
#ifndef TESTS_VM_ALONE_H
#define TESTS_VM_ALONE_H

#include "tests/vm/harness.h"

#define ALONE_STDIO "stdio,id=c0,signal=off"

/* QEMU's, of its devices: number n is on "virtio-mmio-bus.<n>". */
#define ALONE_DEVICES 8

struct alone {
	const char *program;	       /* of guest/programs: init, and the only file there is */
	const char *words, *arguments; /* for quire; for the program. NULL: none */
	unsigned memory;	       /* MiB; 0: 128 */
	unsigned devices;	       /* the first so many buses have one */
	bool automatic;		       /* QEMU says where they are; no arguments then */
	const char *console;	       /* QEMU's -chardev for a console on bus 0, with id=c0; the
					* serial line is nobody's then. NULL: none */
	const char *qemu[24];	       /* more words for QEMU, up to NULL */
};

/* Starts it in a microvm; the serial line is the child's output and input. Skips the test where
 * there is no QEMU. */
struct child *alone_start(const struct alone *alone);

/* Waits for its end: what the child said. Fails the test if QEMU does not end well. */
const char *alone_finish(struct child *child);

/* Both: what the serial line said. Fails the test if QEMU does not end well. */
const char *alone_run(const struct alone *alone);

/* QEMU's monitor: a command and what it says. */
#define ALONE_MONITOR "-monitor", alone_monitor_option()
const char *alone_monitor_option(void);
const char *alone_monitor(const char *command);

/* QEMU's gdb stub: while the guest stands still, writes to its physical memory, and gives the
 * monitor a command. */
#define ALONE_GDB "-gdb", alone_gdb_option()
const char *alone_gdb_option(void);
void alone_poke(uint64_t physical, const void *bytes, unsigned length, const char *command);

/* The host memory that the child's QEMU holds, in bytes. */
uint64_t alone_resident(const struct child *child);

/* The same on a plain PC. */
const char *alone_boot(const char *program, const char *arguments);

#endif
