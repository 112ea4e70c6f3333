/*
 * A virtual machine: KVM's file descriptors, the address space, the memory manager, its vCPUs
 * and the devices, put together and taken apart. One machine a process today; nothing here is a
 * singleton.
 *
 * Life: create, load, start, wait for stop_fd, stop, finish. Threads: the creator's; the vCPUs';
 * the fault thread (ept/); the reclaimer (mm/); the devices' (devices.h). Any of them may end the
 * machine with machine_stop(): the first reason given is the one that counts.
 */
#ifndef VMM_MACHINE_MACHINE_H
#define VMM_MACHINE_MACHINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mm/mm.h"
#include "vmm/machine/devices.h"

struct ept_space;
struct loader_guest;
struct machine;

/* The kinds of guest; each has a row of machine_kinds[] in machine.c with its needs of a
 * machine. */
enum machine_kind {
	MACHINE_QUIRE, /* our kernel, which speaks to the doorbell (guest/abi.h) */
	MACHINE_STOCK, /* a kernel that expects a PC and knows nothing of bifold */
};

enum machine_stop_kind {
	MACHINE_RUNNING,
	MACHINE_EXITED,	     /* the program ended: status is its exit status, or 128 + signal */
	MACHINE_CANNOT_RUN,  /* the guest's kernel could not start the program */
	MACHINE_FAILED,	     /* the monitor, the manager or the guest's kernel failed */
	MACHINE_INTERRUPTED, /* SIGINT, SIGTERM: status is 128 + signal */
	MACHINE_TIMED_OUT,
	MACHINE_QUIT, /* the user asked for its end: status 0 */
};

/* Statuses of a run that are not the guest's own. */
#define MACHINE_STATUS_REBOOTED	 123 /* a stock guest ended it by resetting its machine */
#define MACHINE_STATUS_TIMED_OUT 124
#define MACHINE_STATUS_FAILED	 125

/* For people. The caller owns the strings, which outlive the machine. */
struct machine_about {
	const char *name;   /* what runs in it */
	const char *kernel; /* "quire", or the file it came from */
	const char *policy, *compressor;
	uint64_t start_ns; /* clock_now_ns() at the start of it all */
};

struct machine_config {
	struct machine_about about;
	uint64_t memory_bytes;
	unsigned cpu_count; /* 1..QUIRE_CPU_MAX */
	enum machine_kind kind;
	int input_fd, output_fd, error_fd; /* the guest's standard streams; the caller's */
	bool unmanaged;
	bool stop_when_full; /* the disk of the swap file; else the guest stands for a while */
	bool nested;	     /* unmanaged only: the guest sees VMX or SVM, where KVM offers it */
	bool (*load_stopped)(void *context); /* as in struct loader_guest */
	void *load_context;
	uint64_t host_page_bytes; /* unmanaged: as in struct ept_config */
	struct mm_config mm;	  /* frame_count, backing and failed are filled in by the machine */
	struct devices_config devices;
};

/*
 * 0 or -errno, with a line logged that names the refusal; then *machine is NULL, and nothing of it
 * is left.
 */
int machine_create(const struct machine_config *config, struct machine **machine);

/*
 * Puts the kernel and its module in and sets the first vCPU's registers; the others wait for INIT
 * and SIPI. The members of the guest that only the machine knows (stock, rsdp, stopped) are filled
 * in. 0 or -errno, logged.
 */
int machine_load(struct machine *machine, const struct loader_guest *guest);

/* Starts the vCPUs. 0 or -errno, logged. */
int machine_start(struct machine *machine);

/*
 * End the machine for this reason, with this exit status. From any thread, any number of times: the
 * first counts, and gets true, so that only its caller logs the reason, afterwards. Returns at
 * once; stop_fd becomes readable.
 */
bool machine_stop(struct machine *machine, enum machine_stop_kind kind, int status);

/* The monitor's failure: stops it with 125, and logs the sentence if that is why it stops. */
void machine_fail(struct machine *machine, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

bool machine_stopping(struct machine *machine);

/* Waits for the vCPUs to leave the guest, then ends the fault thread. After machine_stop(). */
void machine_join(struct machine *machine);

/* Input has come, or has ended: raise the guest's interrupt. */
void machine_input_ready(struct machine *machine);

/* Takes NULL. After machine_join(), or before machine_start(). */
void machine_destroy(struct machine *machine);

/* ---- what it is and how it is. All may be called from any thread. */

const struct machine_about *machine_about(const struct machine *machine);
uint64_t machine_memory_bytes(const struct machine *machine);
unsigned machine_vcpu_count(const struct machine *machine);
struct ept_space *machine_space(const struct machine *machine);
struct mm *machine_mm(const struct machine *machine); /* NULL: unmanaged */
struct devices *machine_devices(struct machine *machine);

/* An eventfd, readable once the machine stops. */
int machine_stop_fd(const struct machine *machine);

/* An eventfd, written when the guest waits for input, or takes it again. */
int machine_input_fd(const struct machine *machine);

/* Why it stops, and the status of the run; MACHINE_RUNNING: it does not, and the status is 0. */
enum machine_stop_kind machine_outcome(struct machine *machine, int *status);

/* When the first user instruction ran, on clock_now_ns()'s clock, and the CPU time that the monitor
 * had used by then; 0: none has run. */
void machine_user_start(const struct machine *machine, uint64_t *at_ns, uint64_t *cpu_ns);

/* ---- the console of a stock guest (stock.c) */

/*
 * Bytes for the serial port: returns how many it took. Once it takes more, the input descriptor is
 * readable. From any thread.
 */
size_t machine_serial_input(struct machine *machine, const uint8_t *bytes, size_t length);

/* Whether Linux, with this command line (or NULL), has its console on virtio and not on the serial
 * port: the last console= says. */
bool machine_console_is_virtio(const char *command_line);

/* After machine_join(): writes output of the guest that is not out yet, as in devices/output.h. */
void machine_drain(struct machine *machine, int give_up_fd);

/* ---- pauses (pause.c) */

/*
 * The vCPUs are kept out of the guest until machine_resume(), as often as paused; their registers
 * may be read meanwhile. -ETIMEDOUT when one does not come out in time (it waits for a page): then
 * it goes on as if nothing had been asked. Not from a vCPU's thread.
 */
int machine_pause(struct machine *machine, unsigned milliseconds);
void machine_resume(struct machine *machine);

/*
 * A pause that the user asked for, until he takes it back; asking again changes nothing. As
 * machine_pause() and machine_resume(). From one thread.
 */
int machine_hold(struct machine *machine, unsigned milliseconds);
void machine_let_go(struct machine *machine);
bool machine_held(struct machine *machine);

/* Whether it stands until there is room on the disk of its swap file. */
bool machine_standing(struct machine *machine);

/* Bounds KVM's shadow tables by the budget (0: none). May be called at any time. */
void machine_bound_tables(struct machine *machine, uint64_t budget_bytes);

/* The process was stopped (SIGSTOP, Ctrl-Z in its shell) and goes on: the guest is told. */
void machine_continued(struct machine *machine);

#endif
