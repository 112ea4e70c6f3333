/*
 * The order matters: all cells of a pass run after one another, then the next pass begins, so that
 * a host whose speed drifts hits them alike; and each run has fresh memory, so that the places of
 * its pages (which decide which of them share a cache's set) are sampled anew.
 */
#include "vmm/bench/sweep.h"

#include <cpuid.h>
#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/units.h"
#include "vmm/bench/job.h"
#include "vmm/bench/pages.h"
#include "vmm/common/host.h"

/* The first passes are of everything, the others of the small sets alone: what caches and
 * neighbours decide wants many samples, and many small sets take the time of one large one. */
#define FULL_PASSES 2
#define SMALL_MOST  MIB(64)

/* The pace taken for the processor's usual one: a tenth of all rounds was faster. A round is
 * disturbed when it was slower by more than USUAL_SLACK. */
#define USUAL_SHARE 0.1
#define USUAL_SLACK 1.04

#define WORDS_MAX 24
#define WORD_SIZE 96

/* One run, and the progress of all. */
struct turn {
	struct bench_sweep *sweep;
	enum bench_page guest;
	unsigned host; /* or BENCH_NATIVE */
	unsigned done, of;
	uint64_t most;	 /* working set */
	unsigned events; /* of each kind */
	int cpu;	 /* of every run */
	const volatile sig_atomic_t *interrupted;
};

/* --- memory --- */

static uint64_t round_up(uint64_t value, uint64_t to)
{
	return (value + to - 1) / to * to;
}

/* A guest needs, beside the working set, page tables, the chase's order, the kernel's page records
 * and the kernel: a 64th together. But with little more than that free, the kernel works to keep
 * memory in large pieces, and a first touch of all of it takes ten times as long. A page of 1 GiB
 * lies at a multiple of 1 GiB, the first of which the kernel itself is in. */
static uint64_t guest_memory(uint64_t most, enum bench_page guest, enum bench_page host)
{
	uint64_t set = round_up(most, bench_page_size[guest].bytes);
	uint64_t memory = set + set / 4 + MIB(64);

	if (guest == BENCH_1G)
		memory += GIB(1);
	return round_up(memory, bench_page_size[host].bytes);
}

static uint64_t pages_needed(const struct turn *turn)
{
	if (turn->host == BENCH_NATIVE)
		return round_up(turn->most, bench_page_size[turn->guest].bytes) /
		       bench_page_size[turn->guest].bytes;
	return guest_memory(turn->most, turn->guest, (enum bench_page)turn->host) /
	       bench_page_size[turn->host].bytes;
}

/* --- one run --- */

static void show(const struct turn *turn, const char *what)
{
	char text[160], where[48];

	if (turn->host == BENCH_NATIVE)
		snprintf(where, sizeof(where), "one layer, %s", bench_page_size[turn->guest].name);
	else
		snprintf(where, sizeof(where), "guest %s on host %s",
			 bench_page_size[turn->guest].name, bench_page_size[turn->host].name);
	snprintf(text, sizeof(text), "bench: %u of %u: %s%s", turn->done + 1, turn->of, where,
		 what);
	log_status(text);
	if (!isatty(STDERR_FILENO) && *what == '\0')
		log_note("%s", text);
}

static void heard(void *context, const char *line)
{
	char what[64], size[UNITS_TEXT_SIZE], loop[16];
	unsigned long long bytes;

	if (sscanf(line, "start %15s %llu", loop, &bytes) == 2) {
		snprintf(what, sizeof(what), ", %s over %s", loop, units_format_size(bytes, size));
		show(context, what);
	}
}

/* Which loops take part, as the program's word. */
static void name_loops(const struct bench_options *options, char text[WORD_SIZE])
{
	text[0] = '\0';
	for (int loop = 0; loop < BENCH_LOOPS; loop++) {
		if (!options->loop[loop])
			continue;
		if (text[0] != '\0')
			strcat(text, ",");
		strcat(text, bench_loop_name[loop]);
	}
}

/* Events are those of small pages. */
static unsigned events_of(const struct turn *turn)
{
	return turn->guest == BENCH_4K ? turn->events : 0;
}

static int run_job(const struct turn *turn, bool sets, const char *append, struct bench_cell *cell)
{
	const struct bench_options *options = turn->sweep->options;
	enum bench_page host = turn->host == BENCH_NATIVE ? BENCH_4K : (enum bench_page)turn->host;
	char least[32], most[32], rounds[32], accesses[32], events[32], loops[WORD_SIZE];
	const char *const words[] = { "--page",	    bench_page_size[turn->guest].name,
				      "--least",    least,
				      "--most",	    most,
				      "--rounds",   rounds,
				      "--accesses", accesses,
				      "--loops",    loops,
				      "--events",   events,
				      NULL };
	struct bench_job job = {
		.guest = turn->host != BENCH_NATIVE,
		.memory_bytes = guest_memory(turn->most, turn->guest, host),
		.host_page_bytes = bench_page_size[host].bytes,
		.append = append,
		.arguments = words,
		.timeout_seconds = options->timeout_seconds,
		.interrupted = turn->interrupted,
		.heard = heard,
		.context = (void *)(uintptr_t)turn,
		.cpu = turn->cpu,
	};

	snprintf(least, sizeof(least), "%" PRIu64, options->least);
	snprintf(most, sizeof(most), "%" PRIu64, sets ? turn->most : 0);
	snprintf(rounds, sizeof(rounds), "%u", options->rounds);
	snprintf(accesses, sizeof(accesses), "%u", options->accesses);
	snprintf(events, sizeof(events), "%u", events_of(turn));
	name_loops(options, loops);
	return bench_job_run(&job, cell);
}

/* The same switch without PCID, where the guest has it: a run for that alone. */
static int run_without_pcid(const struct turn *turn, struct bench_cell *cell)
{
	struct bench_cell *other = malloc(sizeof(*other));
	const struct bench_event *event;
	int error;

	if (other == NULL)
		return -ENOMEM;
	bench_cell_init(other);
	error = run_job(turn, false, "nopcid", other);
	event = bench_cell_event(other, "process-switch");
	if (error == 0 && event != NULL && event->p50.count > 0)
		error = bench_event_add(cell, "process-switch-no-pcid", event->p50.value[0],
					event->p99.value[0]);
	bench_cell_finish(other);
	free(other);
	return error;
}

/* A cell that fails is one that says why; only wrong content and an interruption end the sweep. */
static int settle(const struct turn *turn, int error, struct bench_cell *cell)
{
	if (error == 0 || error == -EINTR || error == -EBADMSG)
		return error;
	if (error == -ETIMEDOUT)
		snprintf(cell->absent, sizeof(cell->absent), "took more than %u s",
			 turn->sweep->options->timeout_seconds);
	else
		snprintf(cell->absent, sizeof(cell->absent), "the run failed (%s)",
			 strerror(-error));
	cell->right = false;
	return 0;
}

static int take_turn(struct turn *turn, struct bench_pages *pages)
{
	struct bench_sweep *sweep = turn->sweep;
	struct bench_cell *cell = &sweep->cell[turn->guest][turn->host];
	enum bench_page size =
		turn->host == BENCH_NATIVE ? turn->guest : (enum bench_page)turn->host;
	int error = 0;

	show(turn, "");
	/* An ordinary process can have transparent pages of 2 MiB, where none are set aside. */
	if (cell->absent[0] == '\0' &&
	    bench_pages_need(pages, size, pages_needed(turn), sweep->options->reserve, cell->absent,
			     sizeof(cell->absent)) != 0 &&
	    turn->host == BENCH_NATIVE && turn->guest == BENCH_2M)
		cell->absent[0] = '\0';
	if (cell->absent[0] == '\0') {
		error = run_job(turn, true, NULL, cell);
		if (error == 0 && turn->host != BENCH_NATIVE && cell->pcid && events_of(turn) > 0)
			error = run_without_pcid(turn, cell);
		error = settle(turn, error, cell);
		sweep->counters = sweep->counters || cell->counted;
	}
	turn->done++;
	return error;
}

/* --- all of them --- */

static unsigned passes_of(const struct bench_options *options)
{
	return options->passes > FULL_PASSES && options->least > SMALL_MOST ? FULL_PASSES
									    : options->passes;
}

static unsigned count_turns(const struct bench_options *options)
{
	unsigned guests = 0, hosts = 1;

	for (int page = 0; page < BENCH_PAGES; page++) {
		guests += options->guest[page];
		hosts += options->host[page];
	}
	return guests * hosts * passes_of(options);
}

static int take_pass(struct turn *turn, unsigned pass, struct bench_pages *pages)
{
	const struct bench_options *options = turn->sweep->options;
	bool full = pass < FULL_PASSES;
	int error = 0;

	turn->most = full || options->most < SMALL_MOST ? options->most : SMALL_MOST;
	turn->events = full ? options->events : 0;
	for (int guest = 0; guest < BENCH_PAGES && error == 0; guest++) {
		if (!options->guest[guest])
			continue;
		turn->guest = (enum bench_page)guest;
		for (unsigned host = 0; host <= BENCH_NATIVE && error == 0; host++) {
			turn->host = host;
			if (host == BENCH_NATIVE || options->host[host])
				error = take_turn(turn, pages);
		}
	}
	return error;
}

static bool is_guest(void)
{
	unsigned eax, ebx, ecx, edx;

	return __get_cpuid(1, &eax, &ebx, &ecx, &edx) && (ecx >> 31 & 1) != 0;
}

/* "?" where nothing says it. */
static void read_processor(char *name, size_t size)
{
	FILE *file = fopen("/proc/cpuinfo", "re");
	char line[256];

	snprintf(name, size, "?");
	if (file == NULL)
		return;
	while (fgets(line, sizeof(line), file) != NULL) {
		char *value = strncmp(line, "model name", 10) == 0 ? strchr(line, ':') : NULL;

		if (value == NULL)
			continue;
		value[strcspn(value, "\n")] = '\0';
		snprintf(name, size, "%s", value + 1 + strspn(value + 1, " "));
		break;
	}
	fclose(file);
}

static void name_host(struct bench_sweep *sweep)
{
	time_t now = time(NULL);
	struct utsname system;
	struct tm date;

	read_processor(sweep->processor, sizeof(sweep->processor));
	snprintf(sweep->kernel, sizeof(sweep->kernel), "%s",
		 uname(&system) == 0 ? system.release : "?");
	strftime(sweep->date, sizeof(sweep->date), "%Y-%m-%d", localtime_r(&now, &date));
}

/* --- who else ran --- */

struct load {
	double busy, stolen, own, at; /* seconds */
};

static double rusage_seconds(int who)
{
	struct rusage usage;

	getrusage(who, &usage);
	return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
	       (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

/* Of all processors, from /proc/stat; and of this process and its children that have ended. */
static struct load read_load(void)
{
	unsigned long long user, nice_user, kernel, idle, waiting, interrupt, soft, stolen;
	double tick = 1.0 / (double)sysconf(_SC_CLK_TCK);
	FILE *file = fopen("/proc/stat", "re");
	struct load load = {
		.own = rusage_seconds(RUSAGE_SELF) + rusage_seconds(RUSAGE_CHILDREN),
		.at = (double)clock_now_ns() / 1e9,
	};

	if (file == NULL)
		return load;
	if (fscanf(file, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", &user, &nice_user, &kernel,
		   &idle, &waiting, &interrupt, &soft, &stolen) == 8) {
		load.busy = (double)(user + nice_user + kernel + interrupt + soft) * tick;
		load.stolen = (double)stolen * tick;
	}
	fclose(file);
	return load;
}

static void add_paces(const struct bench_cell *cell, struct bench_series *paces)
{
	for (int loop = 0; loop < BENCH_LOOPS; loop++)
		for (int size = 0; size < BENCH_SIZES; size++)
			for (size_t i = 0; i < cell->set[loop][size].pace.count; i++)
				bench_series_add(paces, cell->set[loop][size].pace.value[i]);
}

/* Leaves out what was measured while the processor was slower than usual. */
static void drop_disturbed(struct bench_sweep *sweep)
{
	struct bench_series paces = { NULL, 0 };
	struct bench_cell *cells = &sweep->cell[0][0];
	size_t dropped = 0;
	double limit;

	for (size_t i = 0; i < sizeof(sweep->cell) / sizeof(*cells); i++)
		add_paces(&cells[i], &paces);
	limit = bench_quantile(&paces, USUAL_SHARE) * USUAL_SLACK;
	for (size_t i = 0; i < sizeof(sweep->cell) / sizeof(*cells); i++)
		for (int loop = 0; loop < BENCH_LOOPS; loop++)
			for (int size = 0; size < BENCH_SIZES; size++)
				dropped +=
					bench_set_drop_disturbed(&cells[i].set[loop][size], limit);
	sweep->disturbed = paces.count > 0 ? (double)dropped / (double)paces.count : 0;
	free(paces.value);
}

static void settle_load(struct bench_sweep *sweep, const struct load *start)
{
	struct load end = read_load();
	double others = end.busy - start->busy - (end.own - start->own);

	sweep->seconds = end.at - start->at;
	sweep->others = others > 0 ? others / sweep->seconds : 0;
	sweep->stolen = (end.stolen - start->stolen) / sweep->seconds;
}

int bench_sweep_run(struct bench_sweep *sweep, const struct bench_options *options,
		    const volatile sig_atomic_t *interrupted)
{
	struct turn turn = {
		.sweep = sweep,
		.of = count_turns(options),
		.cpu = sched_getcpu(),
		.interrupted = interrupted,
	};
	struct bench_pages pages = { { 0 } };
	struct load start = read_load();
	int error = 0;

	memset(sweep, 0, sizeof(*sweep));
	for (int guest = 0; guest < BENCH_PAGES; guest++)
		for (unsigned host = 0; host <= BENCH_NATIVE; host++)
			bench_cell_init(&sweep->cell[guest][host]);
	sweep->options = options;
	sweep->second_layer = host_second_layer();
	sweep->host_is_guest = is_guest();
	name_host(sweep);
	for (unsigned pass = 0; pass < passes_of(options) && error == 0; pass++)
		error = take_pass(&turn, pass, &pages);
	bench_pages_release(&pages);
	log_status(NULL);
	settle_load(sweep, &start);
	bench_refuse_ticks(&sweep->cell[0][0], sizeof(sweep->cell) / sizeof(sweep->cell[0][0]));
	drop_disturbed(sweep);
	return error;
}

void bench_sweep_finish(struct bench_sweep *sweep)
{
	for (int guest = 0; guest < BENCH_PAGES; guest++)
		for (unsigned host = 0; host <= BENCH_NATIVE; host++)
			bench_cell_finish(&sweep->cell[guest][host]);
}
