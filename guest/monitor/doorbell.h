/*
 * Talking to the monitor (guest/abi.h), or, where none answers, to a plain PC: then the kernel's
 * words and the program's output go to the first serial port, and the end of it all halts.
 */
#ifndef GUEST_MONITOR_DOORBELL_H
#define GUEST_MONITOR_DOORBELL_H

#include "guest/abi.h"
#include "guest/lib/asm.h"
#include "guest/lib/types.h"

/* The host as the monitor describes it. */
struct doorbell_host {
	unsigned cpu_count;
	bool emulates;	   /* ring 0 is emulated: QUIRE_HOST_EMULATES */
	bool keeps_vector; /* QUIRE_HOST_KEEPS_VECTOR */
};

/* Says hello; before it nothing can be said. False when nobody answers: on a plain PC, where one
 * CPU is used. */
bool doorbell_init(struct doorbell_host *host);

/* With true, lines of QUIRE_LEVEL_INFO and QUIRE_LEVEL_DEBUG are sent too. */
void log_set_verbose(bool verbose);
bool log_is_verbose(void);

/* Lines go there from now on, newline and all, instead of to the monitor; `drain` is called before
 * the machine stops, to see them out: for as long as it takes, or in a hurry where the kernel has
 * failed. NULL, NULL: to the monitor again. */
void log_divert(void (*write)(const char *text, size_t length), void (*drain)(bool patiently));

PRINTF(2, 3) void log_line(enum quire_level level, const char *text, ...);
PRINTF(1, 2) NORETURN void panic(const char *text, ...);

/* Writes to the monitor's output 1 or 2, or reads from its input. segment holds physical addresses;
 * count is at most QUIRE_SEGMENT_MAX. Returns bytes or -errno. */
int64_t doorbell_write(unsigned output, const struct quire_segment *segment, unsigned count);
int64_t doorbell_read(const struct quire_segment *segment, unsigned count);

void doorbell_user_start(void);

/* Lets the host run somebody else for a moment. */
void doorbell_yield(void);

/* Gives back the host memory of whole pages: they read as zeros from now on. 0 or -errno. */
int64_t doorbell_release(uint64_t physical, uint64_t length);

/* Makes a CPU's request to exchange its vector state, whose form takes `size` bytes. At each
 * switch: kept, so that only two addresses are written before it is rung, with what this returns.
 * The request lies in the kernel's image. */
uint32_t doorbell_vector_init(struct quire_request *request, uint32_t size);

/* This CPU's vector state goes to arg0, and the one at arg1 takes its place: physical addresses, 0
 * for one that is left out. False: the monitor refuses the new state. */
static inline bool doorbell_vector(struct quire_request *request, uint32_t bell)
{
	out32(QUIRE_PORT_DOORBELL, bell);
	return request->result == 0;
}

/* Sleeps until an interrupt has come. Interrupts are off before and after. */
void doorbell_wait(void);

/* The ends: init exited with `status`, or was killed by `signal`; or could not be executed. */
NORETURN void doorbell_exit(int status, int signal);
PRINTF(2, 3) NORETURN void doorbell_no_init(int error, const char *text, ...);

#endif
