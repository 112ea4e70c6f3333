/*
 * The balloon; see fuzz_device.h. The hooks keep a map of their own of what is in it: every run
 * must lie in memory, every page come in and go out by turns, and none be left after a reset.
 */
#include <errno.h>
#include <string.h>

#include "base/check.h"
#include "devices/virtio/balloon.h"
#include "fuzz_device.h"

#define FRAMES (FUZZ_MEMORY >> PAGE_SHIFT)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct virtio_balloon *balloon;
static bool held[FRAMES];
static unsigned failures; /* of hooks, to come */

static void check_run(gfn_t first, uint32_t count)
{
	CHECK(count > 0 && first.v < FRAMES && count <= FRAMES - first.v);
}

static int move(gfn_t first, uint32_t count, bool in)
{
	check_run(first, count);
	for (uint64_t i = first.v; i < first.v + count; i++) {
		CHECK(held[i] != in);
		held[i] = in;
	}
	return 0;
}

static int on_inflate(void *context, gfn_t first, uint32_t count)
{
	return move(first, count, true);
}

static int on_deflate(void *context, gfn_t first, uint32_t count)
{
	return move(first, count, false);
}

static int on_report(void *context, gfn_t first, uint32_t count, uint32_t poison)
{
	check_run(first, count);
	if (failures > 0) {
		failures--;
		return -EIO;
	}
	return 0;
}

static void on_event(void *context)
{
}

static const struct virtio_balloon_events events = { on_inflate, on_deflate, on_report, on_event,
						     on_event };

static void open_balloon(struct fuzz_device *device)
{
	CHECK(virtio_balloon_create(&(struct virtio_balloon_config){ .space = device->space,
								     .loop = device->loop,
								     .reporting = true,
								     .events = &events },
				    &balloon) == 0);
	device->virtio = virtio_balloon_virtio(balloon);
	memset(held, 0, sizeof(held));
	failures = 0;
}

static void check_state(void)
{
	struct virtio_balloon_state state;
	uint32_t count = 0;

	virtio_balloon_get(balloon, &state);
	for (uint64_t i = 0; i < FRAMES; i++) {
		CHECK(virtio_balloon_has(balloon, gfn(i)) == held[i]);
		count += held[i];
	}
	CHECK(state.held == count && state.inflated - state.deflated == count);
	CHECK((state.known != 0) <= (state.statistics_ns != 0));
}

static void event(struct fuzz_device *device, unsigned what, uint32_t value)
{
	switch (what % 4) {
	case 0:
		virtio_balloon_set_target(balloon, value);
		break;
	case 1:
		CHECK(virtio_balloon_ask_statistics(balloon) <= 0);
		break;
	case 2:
		check_state();
		break;
	case 3:
		failures = value % 4;
		break;
	}
}

static void close_balloon(struct fuzz_device *device)
{
	check_state();
	for (uint64_t i = 0; i < FRAMES; i++)
		CHECK(!held[i]);
	virtio_balloon_destroy(balloon);
}

static const struct fuzz_device_ops ops = { open_balloon, event, close_balloon };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	return fuzz_device_run(&ops, data, size);
}
