/* Load averages, and /proc's figures of the CPUs. load.h has the rules. */
#include "guest/process/load.h"
#include "guest/cpu/clock.h"
#include "guest/lib/asm.h"
#include "guest/lib/text.h"
#include "guest/process/process.h"

#define ONE	      (1ul << LOAD_SHIFT)
#define COUNT_NS      5000000000ul
#define NS_PER_S      1000000000ul
#define NS_PER_TICK   (NS_PER_S / USER_HZ)
#define MEASURE_SHIFT 30

/* The part of an average that is left after 5 s: e to the power of -5/60, -5/300, -5/900. */
static const uint64_t left[LOAD_COUNT] = { 1884, 2014, 2037 };

uint64_t load_next;
static uint64_t average[LOAD_COUNT], period;

static unsigned count_active(void)
{
	unsigned count = 0;

	for (struct process *process = process_list; process; process = process->next) {
		for (struct thread *thread = process->threads; thread; thread = thread->next)
			count += thread->state == THREAD_RUNNING || thread->state == THREAD_READY;
	}
	return count;
}

static uint64_t power(uint64_t base, uint64_t exponent)
{
	uint64_t result = ONE;

	for (; exponent > 0; exponent >>= 1) {
		if (exponent & 1)
			result = (result * base + ONE / 2) >> LOAD_SHIFT;
		base = (base * base + ONE / 2) >> LOAD_SHIFT;
	}
	return result;
}

void load_count(uint64_t now, bool from_idle)
{
	uint64_t missed, active;

	if (!period) {
		/* TSC ticks of COUNT_NS. */
		period = ((COUNT_NS / 16) << MEASURE_SHIFT) / clock_ticks_ns(1ull << MEASURE_SHIFT);
		period *= 16;
		load_next = now + period;
		return;
	}
	missed = (now - load_next) / period + 1;
	load_next += missed * period;
	active = count_active();
	if (from_idle && active > 0)
		active--;
	active <<= LOAD_SHIFT;
	for (unsigned i = 0; i < LOAD_COUNT; i++) {
		uint64_t keep = power(left[i], missed);
		uint64_t sum = average[i] * keep + active * (ONE - keep);

		/* Rounded towards what it goes to. */
		average[i] = (sum + (active >= average[i] ? ONE - 1 : 0)) >> LOAD_SHIFT;
	}
}

const uint64_t *load_averages(void)
{
	uint64_t now = rdtsc();

	if (now >= load_next)
		load_count(now, false);
	return average;
}

static void add_average(struct text *text, uint64_t value)
{
	value += ONE / 200;
	text_add(text, "%lu.%02lu ", value >> LOAD_SHIFT, (value & (ONE - 1)) * 100 >> LOAD_SHIFT);
}

void loadavg_text(struct text *text)
{
	const uint64_t *value = load_averages();

	for (unsigned i = 0; i < LOAD_COUNT; i++)
		add_average(text, value[i]);
	text_add(text, "%u/%u %d\n", count_active(), thread_count - cpu_count, thread_last);
}

/* TSC ticks that the CPU had no work. */
static uint64_t idle_of(const struct cpu *cpu)
{
	uint64_t idle = cpu->idle->ran;

	if (cpu->current == cpu->idle)
		idle += rdtsc() - cpu->switched;
	return idle;
}

void uptime_text(struct text *text)
{
	uint64_t now = clock_now(), idle = 0;

	for (unsigned i = 0; i < cpu_count; i++)
		idle += clock_ticks_ns(idle_of(&cpus[i]));
	text_add(text, "%lu.%02lu %lu.%02lu\n", now / NS_PER_S, now % NS_PER_S * 100 / NS_PER_S,
		 idle / NS_PER_S, idle % NS_PER_S * 100 / NS_PER_S);
}

/* user, nice, system, idle, and six kinds of time that there are none of. */
static void add_cpu(struct text *text, struct time_split busy, uint64_t idle)
{
	text_add(text, "%lu 0 %lu %lu 0 0 0 0 0 0\n", busy.user / NS_PER_TICK,
		 busy.system / NS_PER_TICK, idle / NS_PER_TICK);
}

static void add_cpus(struct text *text)
{
	static struct time_split busy[CPU_MAX];
	struct time_split all_busy = { 0, 0 };
	uint64_t idle[CPU_MAX], all_idle = 0;

	for (unsigned i = 0; i < cpu_count; i++) {
		uint64_t ran = rdtsc() - cpus[i].started, without = MIN(idle_of(&cpus[i]), ran);

		sample_split(ran - without, &cpus[i].samples, &busy[i]);
		idle[i] = clock_ticks_ns(without);
		all_busy.user += busy[i].user;
		all_busy.system += busy[i].system;
		all_idle += idle[i];
	}
	text_add(text, "cpu  ");
	add_cpu(text, all_busy, all_idle);
	for (unsigned i = 0; i < cpu_count; i++) {
		text_add(text, "cpu%u ", i);
		add_cpu(text, busy[i], idle[i]);
	}
}

void stat_text(struct text *text)
{
	add_cpus(text);
	text_add(text, "intr 0\nctxt %lu\nbtime %lu\nprocesses %lu\n", switch_count,
		 clock_wall_offset() / NS_PER_S, threads_made);
	text_add(text, "procs_running %u\nprocs_blocked 0\n", count_active());
}

void cpuinfo_text(struct text *text)
{
	for (unsigned i = 0; i < cpu_count; i++)
		text_add(text,
			 "processor\t: %u\nvendor_id\t: quire\nmodel name\t: virtual CPU\n"
			 "address sizes\t: 48 bits virtual\n\n",
			 i);
}
