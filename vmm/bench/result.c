#include "vmm/bench/result.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"

#define SPREAD_MOST 0.5	 /* of a figure to rely on */
#define KEPT_LEAST  3	 /* rounds of a set, however disturbed */
#define TICK_SLACK  0.01 /* by so much of it, ticks may differ */

const struct bench_page_size bench_page_size[BENCH_PAGES] = {
	[BENCH_4K] = { "4K", 1ull << 12, 4 },
	[BENCH_2M] = { "2M", 1ull << 21, 3 },
	[BENCH_1G] = { "1G", 1ull << 30, 2 },
};

const char *const bench_loop_name[BENCH_LOOPS] = {
	[BENCH_CHASE] = "chase", [BENCH_PACKED] = "packed", [BENCH_STRIDE] = "stride",
	[BENCH_TOUCH] = "touch", [BENCH_SCAN] = "scan",
};

const char *const bench_counter_name[BENCH_COUNTERS] = {
	[BENCH_TLB_MISSES] = "dtlb_misses",
	[BENCH_WALK_CYCLES] = "walk_cycles",
};

void bench_cell_init(struct bench_cell *cell)
{
	memset(cell, 0, sizeof(*cell));
	for (int page = 0; page < BENCH_PAGES; page++)
		cell->mapped[page] = UINT64_MAX;
}

static void finish_set(struct bench_set *set)
{
	free(set->ns.value);
	free(set->pace.value);
}

void bench_cell_finish(struct bench_cell *cell)
{
	for (int loop = 0; loop < BENCH_LOOPS; loop++)
		for (int size = 0; size < BENCH_SIZES; size++)
			finish_set(&cell->set[loop][size]);
	for (size_t i = 0; i < cell->event_count; i++) {
		free(cell->event[i].p50.value);
		free(cell->event[i].p99.value);
	}
	free(cell->tick.value);
	bench_cell_init(cell);
}

void bench_series_add(struct bench_series *series, double value)
{
	double *grown = realloc(series->value, (series->count + 1) * sizeof(*grown));

	CHECK(grown != NULL);
	series->value = grown;
	series->value[series->count++] = value;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* Values at `count` shares (0..1) of the sorted series, between neighbours in proportion. */
static void quantiles(const struct bench_series *series, const double *share, double *value,
		      size_t count)
{
	double *sorted = malloc(series->count * sizeof(*sorted));

	CHECK(sorted != NULL && series->count > 0);
	memcpy(sorted, series->value, series->count * sizeof(*sorted));
	qsort(sorted, series->count, sizeof(*sorted), compare);
	for (size_t i = 0; i < count; i++) {
		double at = share[i] * (double)(series->count - 1);
		size_t below = (size_t)at;
		size_t above = below + 1 < series->count ? below + 1 : below;

		value[i] = sorted[below] + (at - (double)below) * (sorted[above] - sorted[below]);
	}
	free(sorted);
}

double bench_quantile(const struct bench_series *series, double share)
{
	double value = NAN;

	if (series->count > 0)
		quantiles(series, &share, &value, 1);
	return value;
}

double bench_median(const struct bench_series *series)
{
	return bench_quantile(series, 0.5);
}

size_t bench_set_drop_disturbed(struct bench_set *set, double limit)
{
	size_t kept = 0, all = set->ns.count;

	if (all > KEPT_LEAST) {
		double third = bench_quantile(&set->pace, (KEPT_LEAST - 1) / (double)(all - 1));

		limit = third > limit ? third : limit;
	}
	for (size_t i = 0; i < all; i++) {
		if (set->pace.value[i] > limit && all > KEPT_LEAST)
			continue;
		set->ns.value[kept] = set->ns.value[i];
		set->pace.value[kept++] = set->pace.value[i];
	}
	set->ns.count = set->pace.count = kept;
	return all - kept;
}

double bench_spread(const struct bench_series *series)
{
	static const double share[] = { 0.25, 0.5, 0.75 };
	double value[3];

	if (series->count == 0)
		return NAN;
	quantiles(series, share, value, 3);
	return value[1] > 0 ? (value[2] - value[0]) / value[1] : 0;
}

double bench_cell_ns(const struct bench_cell *cell, enum bench_loop loop, unsigned size)
{
	return bench_median(&cell->set[loop][size].ns);
}

bool bench_cell_unsure(const struct bench_cell *cell, enum bench_loop loop, unsigned size)
{
	return bench_spread(&cell->set[loop][size].ns) > SPREAD_MOST;
}

int bench_common_size(const struct bench_cell *const *cells, size_t count)
{
	bool any = false;
	int size;

	for (size = BENCH_SIZES - 1; size >= 0; size--) {
		bool all = true;

		for (size_t i = 0; i < count; i++) {
			any = any || cells[i]->right;
			if (cells[i]->right && cells[i]->set[BENCH_CHASE][size].ns.count == 0)
				all = false;
		}
		if (all && any)
			break;
	}
	return size;
}

/* --- lines --- */

struct bench_set *bench_cell_set(struct bench_cell *cell, const char *line)
{
	unsigned long long bytes;
	char name[16];

	if (sscanf(line, "%*15s %15s %llu", name, &bytes) != 2)
		return NULL;
	for (int loop = 0; loop < BENCH_LOOPS; loop++) {
		for (unsigned size = 0; size < BENCH_SIZES; size++) {
			if (strcmp(name, bench_loop_name[loop]) == 0 && bytes == BENCH_LEAST
											 << size)
				return &cell->set[loop][size];
		}
	}
	return NULL;
}

static int take_set(struct bench_cell *cell, const char *line)
{
	struct bench_set *set = bench_cell_set(cell, line);
	unsigned long long accesses, picoseconds, pace;
	int at = 0, used;

	if (set == NULL || sscanf(line, "%*s %*s %*u %*u %llu%n", &accesses, &at) != 1 || at == 0)
		return -EPROTO;
	for (line += at; sscanf(line, "%llu@%llu%n", &picoseconds, &pace, &used) == 2;
	     line += used) {
		bench_series_add(&set->ns, (double)picoseconds / 1000);
		bench_series_add(&set->pace, (double)pace / 1000);
		set->accesses += accesses;
	}
	return set->ns.count > 0 && *line == '\0' ? 0 : -EPROTO;
}

static struct bench_event *event_of(struct bench_cell *cell, const char *name)
{
	struct bench_event *event = (struct bench_event *)(uintptr_t)bench_cell_event(cell, name);

	if (event == NULL && cell->event_count < BENCH_EVENTS) {
		event = &cell->event[cell->event_count++];
		snprintf(event->name, sizeof(event->name), "%s", name);
	}
	return event;
}

const struct bench_event *bench_cell_event(const struct bench_cell *cell, const char *name)
{
	for (size_t i = 0; i < cell->event_count; i++) {
		if (strcmp(cell->event[i].name, name) == 0)
			return &cell->event[i];
	}
	return NULL;
}

int bench_event_add(struct bench_cell *cell, const char *name, double p50, double p99)
{
	struct bench_event *event = event_of(cell, name);

	if (event == NULL)
		return -ENOSPC;
	bench_series_add(&event->p50, p50);
	bench_series_add(&event->p99, p99);
	return 0;
}

int bench_event_absent(struct bench_cell *cell, const char *name, const char *reason)
{
	struct bench_event *event = event_of(cell, name);

	if (event == NULL)
		return -ENOSPC;
	snprintf(event->absent, sizeof(event->absent), "%s", reason);
	return 0;
}

static int take_event(struct bench_cell *cell, const char *line)
{
	unsigned long long p50, p99;
	char name[32];

	if (sscanf(line, "event %31s %*u %llu %llu", name, &p50, &p99) != 3)
		return -EPROTO;
	return bench_event_add(cell, name, (double)p50 / 1000, (double)p99 / 1000);
}

static int take_absent(struct bench_cell *cell, const char *line)
{
	char name[32];
	int at = 0;

	if (sscanf(line, "absent %31s %n", name, &at) != 1 || at == 0 || line[at] == '\0')
		return -EPROTO;
	if (strcmp(name, "page") != 0)
		return bench_event_absent(cell, name, line + at);
	snprintf(cell->absent, sizeof(cell->absent), "%s", line + at);
	return 0;
}

static int take_tick(struct bench_cell *cell, const char *line)
{
	unsigned long long tick;

	if (sscanf(line, "tick %llu", &tick) != 1 || tick == 0)
		return -EPROTO;
	bench_series_add(&cell->tick, (double)tick);
	return 0;
}

static int take_pcid(struct bench_cell *cell, const char *line)
{
	cell->pcid = strcmp(line, "pcid kept") == 0;
	return cell->pcid || strcmp(line, "pcid none") == 0 ? 0 : -EPROTO;
}

/* The most of all runs. The monitor's own line, in the guest's: second-layer mappings of 4K, 2M and
 * 1G; "-": not known.
 */
static int take_kvm(struct bench_cell *cell, const char *line)
{
	char word[BENCH_PAGES][24];

	if (sscanf(line, "kvm %23s %23s %23s", word[0], word[1], word[2]) != BENCH_PAGES)
		return -EPROTO;
	for (int page = 0; page < BENCH_PAGES; page++) {
		uint64_t count = strtoull(word[page], NULL, 10);

		if (strcmp(word[page], "-") != 0 &&
		    (cell->mapped[page] == UINT64_MAX || count > cell->mapped[page]))
			cell->mapped[page] = count;
	}
	return 0;
}

static int take_right(struct bench_cell *cell, const char *line)
{
	cell->right = true;
	return 0;
}

static int take_nothing(struct bench_cell *cell, const char *line)
{
	return 0;
}

static int take_wrong(struct bench_cell *cell, const char *line)
{
	cell->right = false;
	return -EBADMSG;
}

int bench_cell_take(struct bench_cell *cell, const char *line)
{
	static const struct {
		const char *word;
		int (*take)(struct bench_cell *cell, const char *line);
	} kinds[] = {
		{ "start ", take_nothing }, { "set ", take_set },	{ "mapped", take_nothing },
		{ "event ", take_event },   { "absent ", take_absent }, { "pcid ", take_pcid },
		{ "kvm ", take_kvm },	    { "tick ", take_tick },	{ "right", take_right },
		{ "wrong: ", take_wrong },
	};

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (strncmp(line, kinds[i].word, strlen(kinds[i].word)) == 0)
			return kinds[i].take(cell, line);
	}
	return -EPROTO;
}

/* --- clocks that do not agree --- */

size_t bench_refuse_ticks(struct bench_cell *cells, size_t count)
{
	struct bench_series all = { NULL, 0 };
	size_t refused = 0;
	double usual;

	for (size_t i = 0; i < count; i++)
		for (size_t j = 0; j < cells[i].tick.count; j++)
			bench_series_add(&all, cells[i].tick.value[j]);
	usual = bench_median(&all);
	for (size_t i = 0; i < count; i++) {
		double worst = 0;

		for (size_t j = 0; j < cells[i].tick.count; j++)
			worst = fmax(worst, fabs(cells[i].tick.value[j] / usual - 1));
		if (worst <= TICK_SLACK || cells[i].absent[0] != '\0')
			continue;
		snprintf(cells[i].absent, sizeof(cells[i].absent),
			 "its clock was %.1f %% off that of the others", worst * 100);
		cells[i].right = false;
		refused++;
	}
	free(all.value);
	return refused;
}

/* --- the model --- */

bool bench_is_nested(const char *second_layer)
{
	return strcmp(second_layer, "ept") == 0 || strcmp(second_layer, "npt") == 0;
}

unsigned bench_references_nested(enum bench_page guest, enum bench_page host)
{
	return (bench_page_size[guest].levels + 1) * (bench_page_size[host].levels + 1) - 1;
}

unsigned bench_references(const char *second_layer, enum bench_page guest, enum bench_page host)
{
	enum bench_page smaller = guest < host ? guest : host;

	if (!bench_is_nested(second_layer))
		return bench_page_size[smaller].levels;
	return bench_references_nested(guest, host);
}
