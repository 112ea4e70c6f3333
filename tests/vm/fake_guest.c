#include "tests/vm/fake_guest.h"

#include <criterion/criterion.h>

#include "tests/vm/guests.h"
#include "vmm/control/server.h"
#include "vmm/common/json.h"

#define MEMORY (256ull << 20)

struct fake_guest fake_guest;
static struct control *control;

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* Being looked at, it gets on. */
static json_t *look(void)
{
	uint64_t to = least(fake_guest.target, fake_guest.most), at = fake_guest.actual;

	if (fake_guest.ready)
		fake_guest.actual = at < to ? at + least(fake_guest.step, to - at)
					    : at - least(fake_guest.step, at - to);
	return json_pack("{s:b, s:I, s:I}", "ready", fake_guest.ready, "actual_bytes",
			 (json_int_t)fake_guest.actual, "target_bytes",
			 (json_int_t)fake_guest.target);
}

static json_t *balloon(void *context, json_t *params, struct control_error *error)
{
	json_t *bytes = json_object_get(params, "bytes");

	if (bytes != NULL && json_count_of(bytes) > MEMORY) {
		control_refuse(error, CONTROL_FAILED, "the guest has no more than that");
		return NULL;
	}
	fake_guest.looks++;
	if (bytes != NULL)
		fake_guest.target = json_count_of(bytes);
	return look();
}

static json_t *stat(void *context, json_t *params, struct control_error *error)
{
	return json_pack("{s:s, s:{s:s, s:s, s:I, s:i}, s:o, s:I}", "state",
			 fake_guest.paused ? "paused" : "running", "guest", "name", "fake",
			 "kernel", "none", "memory_bytes", (json_int_t)MEMORY, "cpus", 1, "balloon",
			 look(), "budget_bytes", (json_int_t)fake_guest.budget);
}

static const struct control_method methods[] = {
	{ "balloon", balloon, "bytes" },
	{ "stat", stat, "" },
	{ NULL, NULL, NULL },
};

void fake_guest_start(void)
{
	fake_guest.step = 1 << 20;
	fake_guest.most = MEMORY;
	fake_guest.ready = true;
	cr_assert_eq(control_create(socket_path(), methods, NULL, &control), 0);
}

void fake_guest_stop(void)
{
	control_destroy(control);
	control = NULL;
}
