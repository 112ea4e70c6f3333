#include "vmm/report.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>

#include "base/units.h"

static json_t *integer(uint64_t value)
{
	return json_integer((json_int_t)value);
}

static json_t *faults_json(const struct mm_stats *stats)
{
	json_t *object = json_object();

	for (int kind = 0; kind < MM_FAULT_KINDS; kind++)
		json_object_set_new(object, mm_fault_kind_name(kind), integer(stats->faults[kind]));
	return object;
}

static json_t *latency_json(const struct mm_stats *stats)
{
	json_t *object = json_object();

	for (int kind = 0; kind < MM_FAULT_KINDS; kind++) {
		const struct hist *hist = &stats->latency_ns[kind];

		json_object_set_new(object, mm_fault_kind_name(kind),
				    json_pack("{s:o, s:o, s:o}", "p50",
					      integer(hist_permille(hist, 500)), "p99",
					      integer(hist_permille(hist, 990)), "max",
					      integer(hist->max)));
	}
	return object;
}

/* Pages that went to the swap file, at once or by way of the pool. */
static uint64_t swapped(const struct mm_stats *stats)
{
	return stats->evictions_swapped + stats->written_back;
}

static json_t *evictions_json(const struct mm_stats *stats)
{
	return json_pack("{s:o, s:o, s:o, s:o, s:o}", "same_filled",
			 integer(stats->evictions_same_filled), "compressed",
			 integer(stats->evictions_compressed), "swapped", integer(swapped(stats)),
			 "clean", integer(stats->evictions_clean), "cancelled",
			 integer(stats->evictions_cancelled));
}

static json_t *kvm_json(const uint64_t values[KVM_STAT_COUNT])
{
	json_t *object = json_object();

	for (int i = 0; i < KVM_STAT_COUNT; i++) {
		if (values[i] != UINT64_MAX)
			json_object_set_new(object, kvm_stat_names[i], integer(values[i]));
	}
	return object;
}

int report_write_json(const struct report *report, FILE *file)
{
	const struct mm_stats *stats = &report->stats;
	const struct {
		const char *name;
		uint64_t value;
	} numbers[] = {
		{ "budget_bytes", stats->budget_bytes },
		{ "peak_host_bytes", stats->peak_bytes },
		{ "resident_bytes", stats->resident_bytes },
		{ "watched_bytes", stats->watched_bytes },
		{ "pool_bytes", stats->pool_bytes },
		{ "pool_stored_bytes", stats->pool_stored_bytes },
		{ "pool_frames", stats->pool_frames },
		{ "same_filled_frames", stats->same_filled_frames },
		{ "swap_bytes", stats->swap_bytes },
		{ "table_bytes", stats->table_bytes },
		{ "touched_frames", stats->touched_frames },
		{ "filled_ahead", stats->filled_ahead },
		{ "written_back", stats->written_back },
		{ "direct_reclaims", stats->direct_reclaims },
		{ "store_failures", stats->store_failures },
		{ "stall_ns", stats->stall_ns },
		{ "wall_ns", report->wall_ns },
		{ "start_to_user_ns", report->start_to_user_ns },
		{ "start_to_user_cpu_ns", report->start_to_user_cpu_ns },
		{ "monitor_bytes", report->monitor_bytes },
	};
	json_t *root = json_object();
	int error = 0;

	json_object_set_new(root, "guest",
			    json_pack("{s:o, s:o}", "memory_bytes", integer(report->memory_bytes),
				      "cpus", integer(report->cpu_count)));
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		json_object_set_new(root, numbers[i].name, integer(numbers[i].value));
	json_object_set_new(root, "faults", faults_json(stats));
	json_object_set_new(root, "evictions", evictions_json(stats));
	json_object_set_new(root, "latency_ns", latency_json(stats));
	json_object_set_new(root, "kvm", kvm_json(report->kvm));
	json_object_set_new(root, "second_layer", json_string(report->second_layer));
	json_object_set_new(root, "managed", json_boolean(report->managed));
	json_object_set_new(root, "policy", json_string(report->policy));
	json_object_set_new(root, "compressor", json_string(report->compressor));
	json_object_set_new(root, "exit_status", json_integer(report->exit_status));
	if (json_dumpf(root, file, JSON_INDENT(2)) != 0 || fputc('\n', file) == EOF ||
	    fflush(file) != 0)
		error = errno != 0 ? -errno : -EIO;
	json_decref(root);
	return error;
}

static void size_row(FILE *file, const char *name, uint64_t bytes, const char *remark)
{
	char text[UNITS_TEXT_SIZE];

	fprintf(file, "  %-22s %12s  %s\n", name, units_format_size(bytes, text), remark);
}

static void fault_rows(FILE *file, const struct mm_stats *stats)
{
	static const char *const names[MM_FAULT_KINDS] = {
		[MM_FAULT_ZERO_FILL] = "first touch (zeros)",
		[MM_FAULT_MINOR] = "still resident",
		[MM_FAULT_POOL] = "from the pool",
		[MM_FAULT_SWAP] = "from the swap file",
	};
	char p50[UNITS_TEXT_SIZE], p99[UNITS_TEXT_SIZE], max[UNITS_TEXT_SIZE];

	fprintf(file, "\n  %-22s %12s %12s %12s %12s\n", "faults", "count", "p50", "p99", "max");
	for (int kind = 0; kind < MM_FAULT_KINDS; kind++) {
		const struct hist *hist = &stats->latency_ns[kind];

		fprintf(file, "  %-22s %12llu %12s %12s %12s\n", names[kind],
			(unsigned long long)stats->faults[kind],
			units_format_ns(hist_permille(hist, 500), p50),
			units_format_ns(hist_permille(hist, 990), p99),
			units_format_ns(hist->max, max));
	}
}

void report_print_table(const struct report *report, FILE *file)
{
	const struct mm_stats *stats = &report->stats;
	char remark[96], time[UNITS_TEXT_SIZE], wall[UNITS_TEXT_SIZE];
	double ratio = stats->pool_stored_bytes == 0 ? 0.0
						     : (double)(stats->pool_frames << PAGE_SHIFT) /
							       (double)stats->pool_stored_bytes;

	fprintf(file, "\n  %-22s %12s\n", "memory", "bytes");
	size_row(file, "guest", report->memory_bytes, report->second_layer);
	size_row(file, "touched", stats->touched_frames << PAGE_SHIFT, "");
	if (stats->budget_bytes != 0)
		size_row(file, "budget", stats->budget_bytes, "");
	size_row(file, "most held", stats->peak_bytes,
		 stats->budget_most_bytes == 0			 ? ""
		 : stats->peak_bytes <= stats->budget_most_bytes ? "within the budget"
								 : "OVER THE BUDGET");
	size_row(file, "resident", stats->resident_bytes, "");
	snprintf(remark, sizeof(remark), "%llu pages, %.2f to 1",
		 (unsigned long long)stats->pool_frames, ratio);
	size_row(file, "compressed", stats->pool_bytes, remark);
	snprintf(remark, sizeof(remark), "%llu pages of one value",
		 (unsigned long long)stats->same_filled_frames);
	size_row(file, "same-filled", 0, remark);
	size_row(file, "swapped", stats->swap_bytes, "");
	fault_rows(file, stats);
	fprintf(file,
		"\n  evictions: %llu compressed, %llu swapped, %llu same-filled, %llu clean, "
		"%llu cancelled\n",
		(unsigned long long)stats->evictions_compressed, (unsigned long long)swapped(stats),
		(unsigned long long)stats->evictions_same_filled,
		(unsigned long long)stats->evictions_clean,
		(unsigned long long)stats->evictions_cancelled);
	fprintf(file, "  time stalled in faults: %s of %s\n",
		units_format_ns(stats->stall_ns, time), units_format_ns(report->wall_ns, wall));
}

void report_format_status(const struct report *report, char *text, size_t size)
{
	const struct mm_stats *stats = &report->stats;
	char held[UNITS_TEXT_SIZE], budget[UNITS_TEXT_SIZE], pool[UNITS_TEXT_SIZE],
		swap[UNITS_TEXT_SIZE];

	snprintf(text, size, "%4.0fs  held %s of %s  pool %s  swap %s  faults %llu pool, %llu swap",
		 (double)report->wall_ns / 1e9, units_format_size(stats->held_bytes, held),
		 stats->budget_bytes != 0 ? units_format_size(stats->budget_bytes, budget)
					  : units_format_size(report->memory_bytes, budget),
		 units_format_size(stats->pool_bytes, pool),
		 units_format_size(stats->swap_bytes, swap),
		 (unsigned long long)stats->faults[MM_FAULT_POOL],
		 (unsigned long long)stats->faults[MM_FAULT_SWAP]);
}

uint64_t report_own_bytes(void)
{
	FILE *file = fopen("/proc/self/status", "re");
	unsigned long long kib, total = 0;
	char line[128];

	if (file == NULL)
		return 0;
	while (fgets(line, sizeof(line), file) != NULL)
		if (sscanf(line, "RssAnon: %llu", &kib) == 1 ||
		    sscanf(line, "RssFile: %llu", &kib) == 1)
			total += kib << 10;
	fclose(file);
	return total;
}
