#include "vmm/control/steer.h"

#include <errno.h>

#include "base/log.h"
#include "base/units.h"
#include "vmm/common/json.h"
#include "vmm/machine/devices_json.h"
#include "vmm/machine/machine.h"

#define PAUSE_MS 2000 /* for a vCPU to come out */

json_t *steer_pause(void *context, json_t *params, struct control_error *error)
{
	struct machine *machine = context;

	if (machine_hold(machine, PAUSE_MS) != 0) {
		control_refuse(error, CONTROL_BUSY,
			       "a vCPU did not leave the guest in %d s: it waits for a page",
			       PAUSE_MS / 1000);
		return NULL;
	}
	log_info("paused, until 'bifold resume'");
	return json_pack("{s:s}", "state", "paused");
}

json_t *steer_resume(void *context, json_t *params, struct control_error *error)
{
	machine_let_go(context);
	return json_pack("{s:s}", "state", "running");
}

/* A size in bytes from the parameters: 0 or -EINVAL with error said; *given: it is there. */
static int get_bytes(const json_t *params, uint64_t *bytes, bool *given,
		     struct control_error *error)
{
	const json_t *item = json_object_get(params, "bytes");

	*given = item != NULL;
	*bytes = json_count_of(item);
	if (item == NULL || (json_is_integer(item) && json_integer_value(item) >= 0))
		return 0;
	control_refuse(error, CONTROL_BAD_PARAMETER, "\"bytes\" is a number, from 0 on");
	return -EINVAL;
}

json_t *steer_balloon(void *context, json_t *params, struct control_error *error)
{
	struct machine *machine = context;
	char most[UNITS_TEXT_SIZE];
	uint64_t bytes;
	bool given;

	if (get_bytes(params, &bytes, &given, error) != 0)
		return NULL;
	if (machine_devices(machine)->balloon == NULL) {
		control_refuse(error, CONTROL_UNAVAILABLE, "this guest was given no balloon");
		return NULL;
	}
	if (bytes > machine_memory_bytes(machine)) {
		control_refuse(error, CONTROL_OUT_OF_RANGE, "the guest has no more than %s",
			       units_format_size(machine_memory_bytes(machine), most));
		return NULL;
	}
	if (given)
		devices_set_balloon(machine_devices(machine), (uint32_t)(bytes >> PAGE_SHIFT));
	return devices_balloon_to_json(machine_devices(machine));
}

static json_t *budget_to_json(struct mm *mm)
{
	struct mm_stats stats;

	mm_stats_get(mm, &stats);
	return json_pack("{s:o, s:o}", "budget_bytes", json_of_count(stats.budget_bytes),
			 "budget_wanted_bytes", json_of_count(stats.budget_wanted_bytes));
}

/* KVM's tables are charged for as long as they may be there: they shrink first and grow last. */
static int set_budget(struct machine *machine, uint64_t bytes)
{
	struct mm_stats stats;
	bool shrinks;
	int error;

	mm_stats_get(machine_mm(machine), &stats);
	shrinks = bytes != 0 && (stats.budget_bytes == 0 || bytes < stats.budget_bytes);
	if (shrinks && bytes >= stats.budget_least_bytes)
		machine_bound_tables(machine, bytes);
	error = mm_set_budget(machine_mm(machine), bytes);
	if (!shrinks && error == 0)
		machine_bound_tables(machine, bytes);
	return error;
}

json_t *steer_budget(void *context, json_t *params, struct control_error *error)
{
	struct machine *machine = context;
	char least[UNITS_TEXT_SIZE];
	struct mm_stats stats;
	uint64_t bytes;
	bool given;

	if (get_bytes(params, &bytes, &given, error) != 0)
		return NULL;
	if (machine_mm(machine) == NULL) {
		control_refuse(
			error, CONTROL_UNAVAILABLE,
			"this guest's memory is the host kernel's to manage: it has no budget");
		return NULL;
	}
	if (given && set_budget(machine, bytes) != 0) {
		mm_stats_get(machine_mm(machine), &stats);
		control_refuse(error, CONTROL_OUT_OF_RANGE,
			       "the budget is too small: the least that works is %s (%llu bytes)",
			       units_format_size(stats.budget_least_bytes, least),
			       (unsigned long long)stats.budget_least_bytes);
		return NULL;
	}
	return budget_to_json(machine_mm(machine));
}

json_t *steer_quit(void *context, json_t *params, struct control_error *error)
{
	struct machine *machine = context;

	if (machine_stop(machine, MACHINE_QUIT, 0))
		log_note("stopped by 'bifold quit'");
	return json_pack("{s:s}", "state", "stopping");
}
