/*
 * Time: KVM's clock where CPUID offers it, else the TSC measured against the board's timer; and one
 * alarm, the local APIC's timer. Nothing ticks while no thread runs and nobody waits for a time.
 */
#ifndef GUEST_CPU_CLOCK_H
#define GUEST_CPU_CLOCK_H

#include "guest/lib/types.h"

/* On the first CPU, before all else here; and on each other. */
void clock_init(void);
void clock_init_other(void);

/* ns since an origin before boot; never goes back. */
uint64_t clock_now(void);

/* The offset to add to clock_now() for ns since 1970. */
uint64_t clock_wall_offset(void);

/* TSC ticks in ns. */
uint64_t clock_ticks_ns(uint64_t ticks);

/* An interrupt (VECTOR_TIMER) at `deadline` of clock_now(), perhaps earlier; UINT64_MAX: none. */
void clock_set_alarm(uint64_t deadline);

/* The same `wait` ns from now on, where a few per cent do not matter: KVM's timer counts ns, so
 * there it is not measured. */
void clock_start_timer(uint64_t wait);

/* Ends the interrupt being handled. */
void interrupt_end(void);

#endif
