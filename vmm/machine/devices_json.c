/* The state of a running guest's devices, as JSON: the functions of the rows in devices.c. */
#include "base/clock.h"
#include "vmm/common/json.h"
#include "vmm/machine/auto_balloon.h"
#include "vmm/machine/devices_json.h"

#define STATISTICS_NS 500000000u /* the guest is asked again after so long */

static void set(json_t *object, const char *name, json_t *value)
{
	json_object_set_new(object, name, value);
}

static json_t *statistics_to_json(const struct virtio_balloon_state *state)
{
	static const char *const names[VIRTIO_BALLOON_STATISTICS] = {
		[VIRTIO_BALLOON_SWAP_IN] = "swap_in_bytes",
		[VIRTIO_BALLOON_SWAP_OUT] = "swap_out_bytes",
		[VIRTIO_BALLOON_MAJOR_FAULT] = "major_faults",
		[VIRTIO_BALLOON_MINOR_FAULT] = "minor_faults",
		[VIRTIO_BALLOON_FREE] = "free_bytes",
		[VIRTIO_BALLOON_TOTAL] = "total_bytes",
		[VIRTIO_BALLOON_AVAILABLE] = "available_bytes",
		[VIRTIO_BALLOON_CACHES] = "caches_bytes",
		[VIRTIO_BALLOON_HUGE_ALLOC] = "huge_allocations",
		[VIRTIO_BALLOON_HUGE_FAIL] = "huge_failures",
		[VIRTIO_BALLOON_OOM_KILL] = "oom_kills",
		[VIRTIO_BALLOON_ALLOC_STALL] = "allocation_stalls",
		[VIRTIO_BALLOON_ASYNC_SCAN] = "async_scan_bytes",
		[VIRTIO_BALLOON_DIRECT_SCAN] = "direct_scan_bytes",
		[VIRTIO_BALLOON_ASYNC_RECLAIM] = "async_reclaim_bytes",
		[VIRTIO_BALLOON_DIRECT_RECLAIM] = "direct_reclaim_bytes",
	};
	json_t *object = json_object();

	for (unsigned i = 0; i < VIRTIO_BALLOON_STATISTICS; i++)
		if (state->known & 1u << i)
			set(object, names[i], json_of_count(state->statistic[i]));
	set(object, "age_ns", json_of_count(clock_now_ns() - state->statistics_ns));
	return object;
}

static json_t *state_to_json(const struct virtio_balloon_state *state)
{
	const struct {
		const char *name;
		uint64_t value;
	} numbers[] = {
		{ "target_bytes", (uint64_t)state->target << PAGE_SHIFT },
		{ "actual_bytes", (uint64_t)state->actual << PAGE_SHIFT },
		{ "held_bytes", (uint64_t)state->held << PAGE_SHIFT },
		{ "inflated_pages", state->inflated },
		{ "deflated_pages", state->deflated },
		{ "reported_pages", state->reported },
		{ "inflated_twice_pages", state->inflated_twice },
		{ "deflated_absent_pages", state->deflated_absent },
	};
	json_t *object = json_object();

	set(object, "ready", json_boolean(state->ready));
	set(object, "reports", json_boolean(state->can_report));
	set(object, "deflates_on_oom", json_boolean(state->deflates_on_oom));
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		set(object, numbers[i].name, json_of_count(numbers[i].value));
	set(object, "statistics",
	    state->statistics_ns != 0 ? statistics_to_json(state) : json_null());
	return object;
}

json_t *devices_balloon_to_json(const struct devices *devices)
{
	struct virtio_balloon_state state;
	json_t *object;

	if (devices->balloon == NULL)
		return json_null();
	virtio_balloon_get(devices->balloon, &state);
	/* For the next reader: these may be old. */
	if (clock_now_ns() - state.statistics_ns > STATISTICS_NS)
		virtio_balloon_ask_statistics(devices->balloon);
	object = state_to_json(&state);
	set(object, "auto",
	    devices->pilot != NULL ? json_string(auto_balloon_reason(devices->pilot))
				   : json_null());
	return object;
}

static json_t *disk_to_json(struct virtio_block *disk, size_t number)
{
	struct virtio_block_counts counts;

	virtio_block_counts_get(disk, &counts);
	return json_pack(
		"{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "number",
		json_of_count(number), "reads", json_of_count(counts.reads), "writes",
		json_of_count(counts.writes), "flushes", json_of_count(counts.flushes), "discards",
		json_of_count(counts.discards), "zeroes", json_of_count(counts.zeroes),
		"read_bytes", json_of_count(counts.read_bytes), "written_bytes",
		json_of_count(counts.written_bytes), "discarded_bytes",
		json_of_count(counts.discarded_bytes), "zeroed_bytes",
		json_of_count(counts.zeroed_bytes), "errors", json_of_count(counts.errors), "waits",
		json_of_count(counts.waits), "pending", json_of_count(counts.pending));
}

json_t *devices_disks_to_json(const struct devices *devices)
{
	json_t *disks = json_array();

	for (size_t i = 0; i < devices->disk_count; i++)
		json_array_append_new(disks, disk_to_json(devices->disk[i], i));
	return disks;
}
