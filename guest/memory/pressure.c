/*
 * Averages over 10, 60 and 300 s, brought up to date by periods of 2 s as Linux does, when somebody
 * looks or stalls. e^-(2/10), e^-(2/60), e^-(2/300) in 1/2048.
 */
#include "guest/memory/pressure.h"
#include "guest/cpu/clock.h"
#include "guest/cpu/cpu.h"
#include "guest/lib/text.h"

#define PERIOD	 2000000000ull
#define ONE	 2048
#define WINDOWS	 3
#define LONG_AGO 1000 /* periods after which nothing is left of an average */

static const uint32_t decay[WINDOWS] = { 1677, 1981, 2034 };

static struct share {
	uint64_t total, seen;	   /* ns; those in finished periods */
	uint64_t average[WINDOWS]; /* percent * 100 * ONE */
} some, full;
static uint64_t period_end;

static void finish_period(struct share *share)
{
	uint64_t stalled = share->total - share->seen;
	uint64_t percent = MIN(stalled, PERIOD) * 10000 / PERIOD;

	share->seen = share->total;
	for (unsigned i = 0; i < WINDOWS; i++)
		share->average[i] =
			(share->average[i] * decay[i] + percent * ONE * (ONE - decay[i])) / ONE;
}

static void update(void)
{
	uint64_t now = clock_now();

	if (!period_end || now > period_end + LONG_AGO * PERIOD)
		period_end = now;
	for (; period_end <= now; period_end += PERIOD) {
		finish_period(&some);
		finish_period(&full);
	}
}

void pressure_stalled(uint64_t ns)
{
	bool others = false;

	for (unsigned i = 0; i < cpu_count; i++)
		others = others || (&cpus[i] != this_cpu() && cpus[i].current != cpus[i].idle);
	some.total += ns;
	if (!others)
		full.total += ns;
	update();
}

static void line(struct text *text, const char *name, const struct share *share)
{
	uint64_t a[WINDOWS];

	for (unsigned i = 0; i < WINDOWS; i++)
		a[i] = share->average[i] / ONE;
	text_add(text, "%s avg10=%lu.%02lu avg60=%lu.%02lu avg300=%lu.%02lu total=%lu\n", name,
		 a[0] / 100, a[0] % 100, a[1] / 100, a[1] % 100, a[2] / 100, a[2] % 100,
		 share->total / 1000);
}

void pressure_text(struct text *text)
{
	update();
	line(text, "some", &some);
	line(text, "full", &full);
}
