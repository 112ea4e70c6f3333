/* The report for people. The report of a running guest came over a socket, and may lack
 * anything. */
#include "base/addr.h"
#include "base/units.h"
#include "vmm/common/arguments.h"
#include "vmm/common/json.h"
#include "vmm/common/report_table.h"
#include "vmm/common/words.h"

static void size_row(FILE *file, const char *name, uint64_t bytes, const char *remark)
{
	char text[UNITS_TEXT_SIZE];

	fprintf(file, "  %-22s %12s", name, units_format_size(bytes, text));
	fprintf(file, *remark != '\0' ? "  %s\n" : "\n", remark);
}

static void memory_rows(FILE *file, const json_t *report)
{
	uint64_t budget = json_count(report, "budget_bytes");
	uint64_t peak = json_count(report, "peak_host_bytes");
	uint64_t pool_bytes = json_count(report, "pool_frames") << PAGE_SHIFT;
	uint64_t most = json_count(report, "budget_most_bytes");
	uint64_t stored = json_count(report, "pool_stored_bytes");
	char remark[96], ratio[24];

	fprintf(file, "\n  %-22s %12s\n", "memory", "bytes");
	size_row(file, "guest", json_count(report, "guest.memory_bytes"),
		 json_text(report, "second_layer"));
	size_row(file, "touched", json_count(report, "touched_frames") << PAGE_SHIFT, "");
	if (budget != 0)
		size_row(file, "budget", budget, "");
	size_row(file, "peak", peak,
		 most == 0	? ""
		 : peak <= most ? "within the budget"
				: "OVER THE BUDGET");
	size_row(file, "resident", json_count(report, "resident_bytes"), "");
	snprintf(ratio, sizeof(ratio), stored != 0 ? "%.2f" : WORD_NOTHING,
		 (double)pool_bytes / (double)stored);
	snprintf(remark, sizeof(remark), "%llu compressed, %s to 1; %llu same-filled",
		 (unsigned long long)json_count(report, "pool_frames"), ratio,
		 (unsigned long long)json_count(report, "same_filled_frames"));
	size_row(file, "pool", json_count(report, "pool_bytes"), remark);
	size_row(file, "tables", json_count(report, "table_bytes"), "");
	size_row(file, "swap", json_count(report, "swap_bytes"), "");
}

/* Of faults that there were none of nothing is known. */
static void fault_row(FILE *file, const json_t *report, const struct word *kind)
{
	static const char *const columns[] = { "p50", "p99", "max" };
	const json_t *latency = json_object_get(json_object_get(report, "latency_ns"), kind->name);
	uint64_t count = json_count(json_object_get(report, "faults"), kind->name);
	char text[UNITS_TEXT_SIZE];

	fprintf(file, "  %-22s %12llu", kind->text, (unsigned long long)count);
	for (size_t i = 0; i < 3; i++)
		fprintf(file, " %12s",
			count != 0 ? units_format_ns(json_count(latency, columns[i]), text)
				   : WORD_NOTHING);
	fputc('\n', file);
}

void report_print_table(const json_t *report, FILE *file)
{
	char stall[UNITS_TEXT_SIZE], wall[UNITS_TEXT_SIZE];
	struct arguments_fit fit;

	file = arguments_fit_begin(&fit, file);
	memory_rows(file, report);
	fprintf(file, "\n  %-22s %12s %12s %12s %12s\n", "faults", "count", "p50", "p99", "max");
	for (size_t i = 0; i < WORDS_OF_FAULTS; i++)
		fault_row(file, report, &words_of_faults[i]);
	fprintf(file,
		"\n  evictions: %llu compressed, %llu swapped, %llu same-filled, %llu clean, "
		"%llu cancelled\n",
		(unsigned long long)json_count(report, "evictions.compressed"),
		(unsigned long long)json_count(report, "evictions.swapped"),
		(unsigned long long)json_count(report, "evictions.same_filled"),
		(unsigned long long)json_count(report, "evictions.clean"),
		(unsigned long long)json_count(report, "evictions.cancelled"));
	fprintf(file, "  time stalled in faults: %s of %s\n",
		units_format_ns(json_count(report, "stall_ns"), stall),
		units_format_ns(json_count(report, "wall_ns"), wall));
	arguments_fit_end(&fit);
}
