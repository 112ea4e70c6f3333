#include "vmm/machine/report.h"

#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/units.h"
#include "vmm/common/host.h"
#include "vmm/common/json.h"
#include "vmm/machine/machine.h"

static json_t *faults_json(const struct mm_stats *stats)
{
	json_t *object = json_object();

	for (int kind = 0; kind < MM_FAULT_KINDS; kind++)
		json_object_set_new(object, mm_fault_kind_name(kind),
				    json_of_count(stats->faults[kind]));
	return object;
}

static json_t *latency_json(const struct mm_stats *stats)
{
	json_t *object = json_object();

	for (int kind = 0; kind < MM_FAULT_KINDS; kind++) {
		const struct hist *hist = &stats->latency_ns[kind];

		json_object_set_new(object, mm_fault_kind_name(kind),
				    json_pack("{s:o, s:o, s:o}", "p50",
					      json_of_count(hist_permille(hist, 500)), "p99",
					      json_of_count(hist_permille(hist, 990)), "max",
					      json_of_count(hist->max)));
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
			 json_of_count(stats->evictions_same_filled), "compressed",
			 json_of_count(stats->evictions_compressed), "swapped",
			 json_of_count(swapped(stats)), "clean",
			 json_of_count(stats->evictions_clean), "cancelled",
			 json_of_count(stats->evictions_cancelled));
}

static json_t *kvm_json(const uint64_t values[KVM_STAT_COUNT])
{
	json_t *object = json_object();

	for (int i = 0; i < KVM_STAT_COUNT; i++) {
		if (values[i] != UINT64_MAX)
			json_object_set_new(object, kvm_stat_names[i], json_of_count(values[i]));
	}
	return object;
}

void report_fill(struct report *report, struct machine *machine)
{
	const struct machine_about *about = machine_about(machine);
	struct mm *mm = machine_mm(machine);
	uint64_t own_bytes;

	memset(report, 0, sizeof(*report));
	report->memory_bytes = machine_memory_bytes(machine);
	report->managed = mm != NULL;
	if (mm != NULL)
		mm_stats_get(mm, &report->stats);
	report->policy = about->policy;
	report->compressor = about->compressor;
	report->second_layer = host_second_layer();
	report->cpu_count = machine_vcpu_count(machine);
	kvm_stats_read(machine, report->kvm);
	report->wall_ns = clock_now_ns() - about->start_ns;
	machine_user_start(machine, &report->start_to_user_ns, &report->start_to_user_cpu_ns);
	if (report->start_to_user_ns != 0)
		report->start_to_user_ns -= about->start_ns;
	own_bytes = report_own_bytes();
	if (own_bytes > report->stats.tier_bytes)
		report->monitor_bytes = own_bytes - report->stats.tier_bytes;
}

static const char *watch_name(const struct report *report)
{
	if (!report->managed)
		return "none";
	return report->stats.watch == MM_WATCH_SCAN ? "scan" : "notice";
}

static void add_numbers(json_t *root, const struct report *report)
{
	const struct mm_stats *stats = &report->stats;
	const struct {
		const char *name;
		uint64_t value;
	} numbers[] = {
		{ "budget_bytes", stats->budget_bytes },
		{ "budget_wanted_bytes", stats->budget_wanted_bytes },
		{ "budget_most_bytes", stats->budget_most_bytes },
		{ "budget_least_bytes", stats->budget_least_bytes },
		{ "held_bytes", stats->held_bytes },
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
		{ "released_frames", stats->released_frames },
		{ "balloon_frames", stats->balloon_frames },
		{ "balloon_touches", stats->balloon_touches },
		{ "punched_frames", stats->punched_frames },
		{ "punched_runs", stats->punched_runs },
		{ "touches_found", stats->touches_found },
		{ "filled_ahead", stats->filled_ahead },
		{ "written_back", stats->written_back },
		{ "direct_reclaims", stats->direct_reclaims },
		{ "store_failures", stats->store_failures },
		{ "stall_ns", stats->stall_ns },
		{ "pressure_ns", stats->pressure_ns },
		{ "refaults", stats->refaults },
		{ "refaults_near", stats->refaults_near },
		{ "wall_ns", report->wall_ns },
		{ "start_to_user_ns", report->start_to_user_ns },
		{ "start_to_user_cpu_ns", report->start_to_user_cpu_ns },
		{ "monitor_bytes", report->monitor_bytes },
	};

	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		json_object_set_new(root, numbers[i].name, json_of_count(numbers[i].value));
}

json_t *report_to_json(const struct report *report)
{
	const struct mm_stats *stats = &report->stats;
	json_t *root = json_object();

	json_object_set_new(root, "guest",
			    json_pack("{s:o, s:o}", "memory_bytes",
				      json_of_count(report->memory_bytes), "cpus",
				      json_of_count(report->cpu_count)));
	add_numbers(root, report);
	json_object_set_new(root, "faults", faults_json(stats));
	json_object_set_new(root, "releases",
			    json_pack("{s:o, s:o}", "balloon",
				      json_of_count(stats->releases[MM_RELEASE_BALLOON]),
				      "reported",
				      json_of_count(stats->releases[MM_RELEASE_REPORTED])));
	json_object_set_new(root, "evictions", evictions_json(stats));
	json_object_set_new(root, "latency_ns", latency_json(stats));
	json_object_set_new(root, "kvm", kvm_json(report->kvm));
	json_object_set_new(root, "second_layer", json_string(report->second_layer));
	json_object_set_new(root, "managed", json_boolean(report->managed));
	json_object_set_new(root, "policy", json_string(report->policy));
	json_object_set_new(root, "watch", json_string(watch_name(report)));
	json_object_set_new(root, "compressor", json_string(report->compressor));
	return root;
}

int report_write(const json_t *report, FILE *file)
{
	if (json_dumpf(report, file, JSON_INDENT(2)) != 0 || fputc('\n', file) == EOF ||
	    fflush(file) != 0)
		return errno != 0 ? -errno : -EIO;
	return 0;
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
