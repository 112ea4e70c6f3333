/* Samples that divide time into system and user time. sample.h says how. */
#include "guest/process/sample.h"
#include "guest/cpu/clock.h"
#include "guest/lib/asm.h"
#include "guest/process/thread.h"

#define CHANCE	   (1ull << 24) /* ns by which two samples' distances differ at most */
#define RATE_SHIFT 20
#define EARLY	   16 /* the timer may ring by this part of SAMPLE_NS too early */

static uint64_t ticks_of(uint64_t ns)
{
	static uint64_t rate; /* TSC ticks a ns */

	if (!rate)
		rate = (1ull << (2 * RATE_SHIFT)) / clock_ticks_ns(1ull << RATE_SHIFT);
	return ns * rate >> RATE_SHIFT;
}

/* The TSC's low bits are chance enough; without it a sample could keep step with the slices. */
uint64_t sample_next(uint64_t now)
{
	uint64_t ns = SAMPLE_NS - CHANCE / 2 + now % CHANCE;

	this_cpu()->sample_due = now + ticks_of(ns);
	return ns;
}

static void take(struct cpu *cpu, uint64_t now, bool system)
{
	struct samples sample = { .all = 1 };

	if (now > cpu->sample_due)
		sample.all += (now - cpu->sample_due) / ticks_of(SAMPLE_NS);
	if (system)
		sample.system = sample.all;
	samples_add(&cpu->current->samples, &sample);
	samples_add(&cpu->samples, &sample);
	cpu->sample_due = 0;
}

/* Where SYSCALL does not get into ring 0 by itself (entry.S), it is at its entry in ring 3. */
static bool is_first_instruction(const struct cpu *cpu, const struct trap_frame *frame)
{
	return frame->rip == frame->rcx || frame->rip == (uint64_t)syscall_entry ||
	       sample_mark(frame) == cpu->sample_returned;
}

void sample_interrupt(const struct trap_frame *frame)
{
	struct cpu *cpu = this_cpu();
	uint64_t now = rdtsc();

	if (cpu->sample_due && now + ticks_of(SAMPLE_NS / EARLY) >= cpu->sample_due)
		take(cpu, now, is_first_instruction(cpu, frame));
	cpu->sample_returned = 0;
}

void sample_kernel(uint64_t now)
{
	struct cpu *cpu = this_cpu();

	if (cpu->sample_due && cpu->current != cpu->idle)
		take(cpu, now, true);
	cpu->sample_due = 0;
}

void samples_add(struct samples *to, const struct samples *from)
{
	to->all += from->all;
	to->system += from->system;
}

struct time_split sample_split(uint64_t ran, const struct samples *samples, struct time_split *told)
{
	uint64_t all = MAX(clock_ticks_ns(ran), told->user + told->system), system = 0;

	if (samples->all)
		system = multiply_divide(all, samples->system, samples->all);
	told->system = MIN(MAX(system, told->system), all - told->user);
	told->user = all - told->system;
	return *told;
}
