/* The state of a running guest: the monitor's side. */
#include "vmm/control/stat.h"

#include <unistd.h>

#include "vmm/common/json.h"
#include "vmm/machine/devices_json.h"
#include "vmm/machine/machine.h"
#include "vmm/machine/report.h"

static void set(json_t *object, const char *name, json_t *value)
{
	json_object_set_new(object, name, value);
}

/* A path need not be UTF-8. */
static json_t *text(const char *value)
{
	json_t *string = json_string(value);

	return string != NULL ? string : json_string("?");
}

static json_t *buckets_to_json(const struct hist *hist)
{
	json_t *array = json_array();

	for (unsigned i = 0; i < HIST_BUCKETS; i++)
		if (hist->bucket[i] != 0)
			json_array_append_new(array, json_pack("[o, o]",
							       json_of_count(hist_bucket_last(i)),
							       json_of_count(hist->bucket[i])));
	return array;
}

static void add_latencies(json_t *latency_ns, const struct mm_stats *stats)
{
	for (int kind = 0; kind < MM_FAULT_KINDS; kind++) {
		const struct hist *hist = &stats->latency_ns[kind];
		json_t *latency = json_object_get(latency_ns, mm_fault_kind_name(kind));

		set(latency, "p90", json_of_count(hist_permille(hist, 900)));
		set(latency, "p999", json_of_count(hist_permille(hist, 999)));
		set(latency, "count", json_of_count(hist->count));
		set(latency, "sum", json_of_count(hist->sum));
		set(latency, "buckets", buckets_to_json(hist));
	}
}

/* Pages on their way count where they are now. */
static json_t *frames_to_json(const struct mm_stats *stats, uint64_t memory_bytes)
{
	uint64_t total = memory_bytes >> PAGE_SHIFT;
	uint64_t resident = stats->resident_bytes >> PAGE_SHIFT;
	uint64_t watched = stats->watched_bytes >> PAGE_SHIFT;
	uint64_t rest = resident + stats->pool_frames + stats->same_filled_frames +
			stats->swap_frames + stats->released_frames;

	return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "total", json_of_count(total),
			 "mapped", json_of_count(resident - watched), "watched",
			 json_of_count(watched), "compressed", json_of_count(stats->pool_frames),
			 "same_filled", json_of_count(stats->same_filled_frames), "swapped",
			 json_of_count(stats->swap_frames), "released",
			 json_of_count(stats->released_frames), "untouched",
			 json_of_count(total > rest ? total - rest : 0));
}

static json_t *stop_to_json(struct machine *machine)
{
	static const char *const kinds[] = {
		[MACHINE_RUNNING] = NULL,
		[MACHINE_EXITED] = "exited",
		[MACHINE_CANNOT_RUN] = "cannot_run",
		[MACHINE_FAILED] = "failed",
		[MACHINE_INTERRUPTED] = "interrupted",
		[MACHINE_TIMED_OUT] = "timed_out",
		[MACHINE_QUIT] = "quit",
	};
	int status;
	enum machine_stop_kind kind = machine_outcome(machine, &status);

	if (kind == MACHINE_RUNNING)
		return json_null();
	return json_pack("{s:s, s:i}", "kind", kinds[kind], "status", status);
}

static const char *state_name(struct machine *machine)
{
	if (machine_stopping(machine))
		return "stopping";
	if (machine_standing(machine))
		return "standing";
	return machine_held(machine) ? "paused" : "running";
}

json_t *stat_to_json(struct machine *machine)
{
	struct report report;
	json_t *stat, *guest;

	report_fill(&report, machine);
	stat = json_pack("{s:s, s:i}", "version", BIFOLD_VERSION, "pid", (int)getpid());
	set(stat, "state", json_string(state_name(machine)));
	set(stat, "stop", stop_to_json(machine));
	json_object_update_new(stat, report_to_json(&report));
	guest = json_object_get(stat, "guest");
	set(guest, "name", text(machine_about(machine)->name));
	set(guest, "kernel", text(machine_about(machine)->kernel));
	add_latencies(json_object_get(stat, "latency_ns"), &report.stats);
	if (report.managed)
		set(stat, "frames", frames_to_json(&report.stats, report.memory_bytes));
	devices_add_to_json(machine_devices(machine), stat);
	return stat;
}
