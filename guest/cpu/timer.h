/* Timers: functions that are called at a set time. All of it is under the kernel lock. */
#ifndef GUEST_CPU_TIMER_H
#define GUEST_CPU_TIMER_H

#include "guest/lib/types.h"

/* An entry of the sorted list of timers. */
struct timer {
	struct timer *next, *prev;
	uint64_t deadline; /* ns of clock_now(); of a set timer */
	bool set;
	void (*expired)(struct timer *timer);
};

void timer_set(struct timer *timer, uint64_t deadline);
void timer_clear(struct timer *timer);

/* This CPU's timer interrupts it at `deadline` or before; UINT64_MAX: nothing changes. */
void timer_alarm(uint64_t deadline);

/* The same `wait` ns after `now`, where a few per cent do not matter (clock_start_timer()). */
void timer_alarm_in(uint64_t now, uint64_t wait);

/* The same for the first timer of all, if there is one. */
void timer_alarm_next(void);

/* This CPU's timer has interrupted it: calls the timers due at `now`, and sets it for the next. */
void timers_expire(uint64_t now);

#endif
