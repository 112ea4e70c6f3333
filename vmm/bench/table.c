/* The tables for people. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/units.h"
#include "vmm/common/arguments.h"
#include "vmm/bench/output.h"

#define GUESTS_A_LINE 2 /* with a column for each size of the host's pages, and the one layer */
#define HOSTS_A_LINE  2 /* of events */

/* Processors that others may use before it is said. */
#define IDLE_MOST 0.05

const struct bench_cell *bench_measured(const struct bench_sweep *sweep, enum bench_page guest,
					unsigned host)
{
	const struct bench_cell *cell = &sweep->cell[guest][host];

	return cell->right && cell->absent[0] == '\0' ? cell : NULL;
}

int bench_largest_size(const struct bench_sweep *sweep)
{
	const struct bench_cell *cells[BENCH_PAGES * (BENCH_PAGES + 1)];
	size_t count = 0;

	for (int guest = 0; guest < BENCH_PAGES; guest++)
		for (unsigned host = 0; host <= BENCH_NATIVE; host++)
			if (bench_measured(sweep, (enum bench_page)guest, host) != NULL)
				cells[count++] = &sweep->cell[guest][host];
	return bench_common_size(cells, count);
}

const char *bench_layer_text(const struct bench_sweep *sweep)
{
	if (strcmp(sweep->second_layer, "ept") == 0)
		return "ept: nested paging, Intel's";
	if (strcmp(sweep->second_layer, "npt") == 0)
		return "npt: nested paging, AMD's";
	return "shadow: KVM keeps one table for both layers. Walks are of one dimension; what "
	       "nested "
	       "paging would cost cannot be measured here";
}

const char *bench_counters_text(const struct bench_sweep *sweep)
{
	return sweep->counters ? NULL : "not available here (perf_event_open counts no TLB misses)";
}

/* A time of at most `width`, and whether its rounds agree. */
static void put_time(FILE *file, int width, const struct bench_cell *cell, enum bench_loop loop,
		     unsigned size)
{
	double ns = bench_cell_ns(cell, loop, size);

	if (isnan(ns))
		fprintf(file, " %*s", width, "-");
	else
		fprintf(file, "%c%*.2f", bench_cell_unsure(cell, loop, size) ? '~' : ' ', width,
			ns);
}

/* A number of at most `width`, or a dash where there is none. */
static void put_number(FILE *file, int width, int digits, double value)
{
	if (isnan(value))
		fprintf(file, " %*s", width, "-");
	else
		fprintf(file, " %*.*f", width, digits, value);
}

/* --- the matrix --- */

static void put_mappings(const struct bench_cell *cell, FILE *file)
{
	const char *between = "  ";

	for (int page = 0; page < BENCH_PAGES; page++) {
		if (cell->mapped[page] == UINT64_MAX || cell->mapped[page] == 0)
			continue;
		fprintf(file, "%s%" PRIu64 " of %s", between, cell->mapped[page],
			bench_page_size[page].name);
		between = ", ";
	}
}

static void put_cell(const struct bench_sweep *sweep, enum bench_page guest, enum bench_page host,
		     unsigned size, FILE *file)
{
	const struct bench_cell *cell = bench_measured(sweep, guest, host);
	const struct bench_cell *native = bench_measured(sweep, guest, BENCH_NATIVE);
	double ns, packed, base;

	fprintf(file, "  %-5s %-5s", bench_page_size[guest].name, bench_page_size[host].name);
	if (cell == NULL) {
		fprintf(file, " not measured: %s\n", sweep->cell[guest][host].absent);
		return;
	}
	ns = bench_cell_ns(cell, BENCH_CHASE, size);
	packed = bench_cell_ns(cell, BENCH_PACKED, size);
	base = native != NULL ? bench_cell_ns(native, BENCH_CHASE, size) : NAN;
	put_time(file, 7, cell, BENCH_CHASE, size);
	put_number(file, 7, 2, ns - packed);
	put_number(file, 9, 2, base);
	put_number(file, 7, 2, ns - base);
	put_number(file, 5, 2, ns / base);
	fprintf(file, " %4u %6u", bench_references(sweep->second_layer, guest, host),
		bench_references_nested(guest, host));
	put_mappings(cell, file);
	fputc('\n', file);
}

static void put_matrix(const struct bench_sweep *sweep, unsigned size, FILE *file)
{
	char text[UNITS_TEXT_SIZE];

	fprintf(file,
		"\nA chase over one line in each 4 KiB of %s, ns an access (medians)\n\n"
		"  %-5s %-5s %7s %7s %9s %7s %5s %4s %6s  %s\n",
		units_format_size(BENCH_LEAST << size, text), "guest", "host", "chase", "-packed",
		"one-layer", "above", "ratio", "refs", "nested", "second layer");
	for (int guest = 0; guest < BENCH_PAGES; guest++) {
		for (int host = 0; host < BENCH_PAGES; host++) {
			if (sweep->options->guest[guest] && sweep->options->host[host])
				put_cell(sweep, (enum bench_page)guest, (enum bench_page)host, size,
					 file);
		}
	}
	fputs("\n  -packed    less the same number of lines side by side: translation without the "
	      "caches' part\n"
	      "  one-layer  the same program as a process of this host, on the guest's size of "
	      "page\n"
	      "  refs       memory references of a walk that no cache helps, on this second layer\n"
	      "  nested     the same under nested paging: (g+1)(h+1)-1\n"
	      "  ~          the middle half of its rounds spreads by more than half of it\n",
	      file);
}

/* --- each working set --- */

/* The columns of the guest's pages from `first` on, as many as a line has room for. */
static void put_heads(const struct bench_sweep *sweep, int first, FILE *file)
{
	fprintf(file, "  %-10s", "set");
	for (int guest = first; guest < BENCH_PAGES && guest < first + GUESTS_A_LINE; guest++) {
		for (unsigned host = 0; host <= BENCH_NATIVE; host++) {
			char head[16];

			if (bench_measured(sweep, (enum bench_page)guest, host) == NULL)
				continue;
			snprintf(head, sizeof(head), "%s/%s", bench_page_size[guest].name,
				 host == BENCH_NATIVE ? "one" : bench_page_size[host].name);
			fprintf(file, " %7s", head);
		}
	}
	fputc('\n', file);
}

static bool any_measured(const struct bench_sweep *sweep, int first)
{
	for (int guest = first; guest < BENCH_PAGES && guest < first + GUESTS_A_LINE; guest++)
		for (unsigned host = 0; host <= BENCH_NATIVE; host++)
			if (bench_measured(sweep, (enum bench_page)guest, host) != NULL)
				return true;
	return false;
}

static void put_columns(const struct bench_sweep *sweep, enum bench_loop loop, int first,
			FILE *file)
{
	char text[UNITS_TEXT_SIZE];

	fputc('\n', file);
	put_heads(sweep, first, file);
	for (unsigned size = 0; size < BENCH_SIZES; size++) {
		uint64_t bytes = BENCH_LEAST << size;

		if (bytes < sweep->options->least || bytes > sweep->options->most)
			continue;
		fprintf(file, "  %-10s", units_format_size(bytes, text));
		for (int guest = first; guest < BENCH_PAGES && guest < first + GUESTS_A_LINE;
		     guest++) {
			for (unsigned host = 0; host <= BENCH_NATIVE; host++) {
				const struct bench_cell *cell =
					bench_measured(sweep, (enum bench_page)guest, host);

				if (cell != NULL)
					put_time(file, 7, cell, loop, size);
			}
		}
		fputc('\n', file);
	}
}

static void put_sets(const struct bench_sweep *sweep, enum bench_loop loop, FILE *file)
{
	if (!sweep->options->loop[loop])
		return;
	fprintf(file, "\n%s, ns an access, by working set (guest/host page; one: one layer)\n",
		bench_loop_name[loop]);
	for (int first = 0; first < BENCH_PAGES; first += GUESTS_A_LINE)
		if (any_measured(sweep, first))
			put_columns(sweep, loop, first, file);
}

/* --- events --- */

static void put_event(const struct bench_sweep *sweep, const char *name, unsigned first, FILE *file)
{
	fprintf(file, "  %-23s", name);
	for (unsigned host = first; host <= BENCH_NATIVE && host < first + HOSTS_A_LINE; host++) {
		const struct bench_cell *cell = bench_measured(sweep, BENCH_4K, host);
		const struct bench_event *event;
		char p50[UNITS_TEXT_SIZE], p99[UNITS_TEXT_SIZE];

		if (cell == NULL)
			continue;
		event = bench_cell_event(cell, name);
		if (event == NULL || event->p50.count == 0)
			fprintf(file, " %10s %10s", "-", "-");
		else
			fprintf(file, " %10s %10s",
				units_format_ns((uint64_t)bench_median(&event->p50), p50),
				units_format_ns((uint64_t)bench_median(&event->p99), p99));
	}
	fputc('\n', file);
}

/* The host's pages from `first` on; all events of any cell, in the order they came. */
static void put_event_columns(const struct bench_sweep *sweep, const struct bench_cell *all,
			      unsigned first, FILE *file)
{
	fprintf(file, "\n  %-23s", "");
	for (unsigned host = first; host <= BENCH_NATIVE && host < first + HOSTS_A_LINE; host++) {
		const struct bench_cell *cell = bench_measured(sweep, BENCH_4K, host);
		char head[24];

		if (cell == NULL)
			continue;
		snprintf(head, sizeof(head), host == BENCH_NATIVE ? "one layer" : "on host %s",
			 host == BENCH_NATIVE ? "" : bench_page_size[host].name);
		fprintf(file, " %21s", head);
	}
	fputc('\n', file);
	for (size_t i = 0; i < all->event_count; i++)
		put_event(sweep, all->event[i].name, first, file);
}

static void put_events(const struct bench_sweep *sweep, FILE *file)
{
	const struct bench_cell *all = NULL;

	for (unsigned host = 0; host <= BENCH_NATIVE; host++) {
		const struct bench_cell *cell = bench_measured(sweep, BENCH_4K, host);

		if (cell != NULL && (all == NULL || all->event_count < cell->event_count))
			all = cell;
	}
	if (all == NULL)
		return;
	fputs("\nEvents, p50 and p99, on pages of 4 KiB\n", file);
	for (unsigned first = 0; first <= BENCH_NATIVE; first += HOSTS_A_LINE) {
		bool any = false;

		for (unsigned host = first; host <= BENCH_NATIVE && host < first + HOSTS_A_LINE;
		     host++)
			any |= bench_measured(sweep, BENCH_4K, host) != NULL;
		if (any)
			put_event_columns(sweep, all, first, file);
	}
	if (bench_cell_event(all, "process-switch-no-pcid") == NULL)
		fputs("  process-switch is without PCID here: the guest has none\n", file);
}

void bench_print_table(const struct bench_sweep *sweep, FILE *file)
{
	const char *counters = bench_counters_text(sweep);
	int size = bench_largest_size(sweep);
	struct arguments_fit fit;

	file = arguments_fit_begin(&fit, file);
	fprintf(file, "%s, Linux %s, %s, bifold " BIFOLD_VERSION "\n", sweep->processor,
		sweep->kernel, sweep->date);
	fprintf(file, "second layer: %s\n", bench_layer_text(sweep));
	if (sweep->host_is_guest)
		fputs("this host is itself a guest: its own hypervisor's layer is under every "
		      "figure, "
		      "one-layer ones too\n",
		      file);
	if (counters != NULL)
		fprintf(file, "counters: %s\n", counters);
	if (sweep->others > IDLE_MOST || sweep->stolen > IDLE_MOST)
		fprintf(file,
			"not quiet: other processes had %.2f of a processor meanwhile, and %.2f "
			"was taken "
			"from this host\n",
			sweep->others, sweep->stolen);
	if (sweep->disturbed > IDLE_MOST)
		fprintf(file,
			"%.0f %% of the rounds are left out: the processor itself was slower than "
			"usual, as when a neighbour has its other thread\n",
			100 * sweep->disturbed);
	if (size >= 0) {
		put_matrix(sweep, (unsigned)size, file);
		for (int loop = 0; loop < BENCH_LOOPS; loop++)
			put_sets(sweep, (enum bench_loop)loop, file);
		if (sweep->options->events > 0 && sweep->options->guest[BENCH_4K])
			put_events(sweep, file);
	}
	for (int guest = 0; guest < BENCH_PAGES; guest++) {
		if (sweep->options->guest[guest] &&
		    sweep->cell[guest][BENCH_NATIVE].absent[0] != '\0')
			fprintf(file, "\nno one-layer figures for %s: %s\n",
				bench_page_size[guest].name,
				sweep->cell[guest][BENCH_NATIVE].absent);
	}
	fprintf(file, "\n%.0f s\n", sweep->seconds);
	arguments_fit_end(&fit);
}
