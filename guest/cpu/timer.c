/*
 * Timers, one list for all CPUs. Each CPU's own timer is set for the first of them, for the end of
 * a slice and for a sample, whichever is first, and may find nothing to do.
 */
#include "guest/cpu/timer.h"
#include "guest/cpu/clock.h"
#include "guest/cpu/cpu.h"

static struct timer timers = { .next = &timers, .prev = &timers };

/* Whether the timer of this CPU is yet to be set, to ring at `deadline` or before. */
static bool needs_alarm(uint64_t deadline)
{
	struct cpu *cpu = this_cpu();

	if (deadline == UINT64_MAX || (cpu->alarm && cpu->alarm <= deadline))
		return false;
	cpu->alarm = deadline;
	return true;
}

void timer_alarm(uint64_t deadline)
{
	if (needs_alarm(deadline))
		clock_set_alarm(deadline);
}

void timer_alarm_in(uint64_t now, uint64_t wait)
{
	if (needs_alarm(now + wait))
		clock_start_timer(wait);
}

void timer_alarm_next(void)
{
	if (timers.next != &timers)
		timer_alarm(timers.next->deadline);
}

void timer_set(struct timer *timer, uint64_t deadline)
{
	struct timer *at;

	timer_clear(timer);
	at = timers.prev; /* now: the timer itself may have been the last */
	while (at != &timers && at->deadline > deadline)
		at = at->prev;
	timer->deadline = deadline;
	timer->set = true;
	timer->prev = at;
	timer->next = at->next;
	at->next->prev = timer;
	at->next = timer;
	timer_alarm(deadline);
}

void timer_clear(struct timer *timer)
{
	if (!timer->set)
		return;
	timer->set = false;
	timer->prev->next = timer->next;
	timer->next->prev = timer->prev;
}

void timers_expire(uint64_t now)
{
	this_cpu()->alarm = 0;
	while (timers.next != &timers && timers.next->deadline <= now) {
		struct timer *timer = timers.next;

		timer_clear(timer);
		timer->expired(timer);
	}
	timer_alarm_next();
}
