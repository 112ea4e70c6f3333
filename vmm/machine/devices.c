#include "vmm/machine/devices.h"

#include <errno.h>
#include <linux/kvm.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/event.h"
#include "base/log.h"
#include "devices/loop.h"
#include "devices/virtio/virtio.h"
#include "vmm/machine/auto_balloon.h"
#include "vmm/machine/devices_json.h"
#include "vmm/machine/internal.h"

/* The time that a slow reader of the console may take for the output left at the end. */
#define DRAIN_MS 2000

/* --- what the balloon tells the manager --- */

/* Unmanaged memory has no states: the host's page goes, and the next touch reads zeros. */
static int give_up(struct machine *machine, gfn_t first, uint32_t count, enum mm_release_kind kind,
		   uint64_t word)
{
	if (machine->mm != NULL)
		return mm_release(machine->mm, first, count, kind, word);
	return word == 0 ? ept_space_discard(machine->space, first, count) : 0;
}

static int inflate(void *context, gfn_t first, uint32_t count)
{
	return give_up(context, first, count, MM_RELEASE_BALLOON, 0);
}

static int deflate(void *context, gfn_t first, uint32_t count)
{
	struct machine *machine = context;

	return machine->mm != NULL ? mm_balloon_return(machine->mm, first, count) : 0;
}

static int report(void *context, gfn_t first, uint32_t count, uint32_t poison)
{
	return give_up(context, first, count, MM_RELEASE_REPORTED, (uint64_t)poison << 32 | poison);
}

static const struct virtio_balloon_events balloon_events = {
	.inflate = inflate,
	.deflate = deflate,
	.report = report,
};

/* --- the console has room for input again --- */

static void console_room(void *context)
{
	event_put(((struct machine *)context)->input_fd);
}

static const struct virtio_console_events console_events = { .room = console_room };

/* --- the wiring --- */

static int wire_queue(int vm_fd, uint64_t base, const struct virtio_queue *queue, unsigned number)
{
	struct kvm_ioeventfd kick = {
		.datamatch = number,
		.addr = base + VIRTIO_MMIO_NOTIFY,
		.len = 4,
		.fd = queue->kick_fd,
		.flags = KVM_IOEVENTFD_FLAG_DATAMATCH,
	};

	return ioctl(vm_fd, KVM_IOEVENTFD, &kick) == 0 ? 0 : -errno;
}

/* Without an ioeventfd a kick leaves the guest for a moment; nothing else changes. */
static int wire(struct devices *devices, struct virtio *virtio)
{
	uint64_t base = PLATFORM_VIRTIO_BASE + devices->count * PLATFORM_VIRTIO_BYTES;
	struct kvm_irqfd line = {
		.fd = (uint32_t)virtio->interrupt_fd,
		.gsi = PLATFORM_VIRTIO_GSI + devices->count,
	};
	int vm_fd = devices->machine->vm_fd, error;

	if (devices->count == PLATFORM_VIRTIO_MAX)
		return -ENOSPC;
	if (ioctl(vm_fd, KVM_IRQFD, &line) != 0)
		return -errno;
	for (unsigned i = 0; i < virtio->ops->queue_count; i++) {
		error = wire_queue(vm_fd, base, &virtio->queue[i], i);
		if (error != 0)
			log_debug("%s: KVM takes no ioeventfd: %s", virtio->name, strerror(-error));
	}
	error = bus_add(&devices->machine->mmio, base, VIRTIO_MMIO_BYTES, &virtio_mmio_ops, virtio);
	devices->count += error == 0;
	return error;
}

/* --- the kinds of devices --- */

static int complain(const char *what, int error)
{
	log_error("cannot make the %s: %s", what, strerror(-error));
	return error;
}

static size_t count_consoles(const struct devices_config *config)
{
	return config->console;
}

static int create_console(struct devices *devices, const struct devices_config *config, size_t at,
			  struct virtio **virtio)
{
	const struct virtio_console_config console = {
		.space = devices->machine->space,
		.loop = devices->loop,
		.output_fd = config->console_fd,
		.output_first = devices->machine->kind->output_first,
		.events = &console_events,
		.context = devices->machine,
	};
	int error = virtio_console_create(&console, &devices->console);

	if (error != 0)
		return complain("console", error);
	*virtio = virtio_console_virtio(devices->console);
	return 0;
}

static void destroy_console(struct devices *devices)
{
	virtio_console_destroy(devices->console);
}

static size_t count_balloons(const struct devices_config *config)
{
	return config->balloon;
}

static int create_balloon(struct devices *devices, const struct devices_config *config, size_t at,
			  struct virtio **virtio)
{
	const struct virtio_balloon_config balloon = {
		.space = devices->machine->space,
		.loop = devices->loop,
		.reporting = config->reporting,
		.events = &balloon_events,
		.context = devices->machine,
	};
	int error = virtio_balloon_create(&balloon, &devices->balloon);

	if (error == 0 && config->auto_balloon)
		error = auto_balloon_create(devices, &devices->pilot);
	if (error != 0)
		return complain("balloon", error);
	*virtio = virtio_balloon_virtio(devices->balloon);
	return 0;
}

static void destroy_balloon(struct devices *devices)
{
	auto_balloon_destroy(devices->pilot);
	virtio_balloon_destroy(devices->balloon);
}

static size_t count_rngs(const struct devices_config *config)
{
	return config->rng;
}

static int create_rng(struct devices *devices, const struct devices_config *config, size_t at,
		      struct virtio **virtio)
{
	int error = virtio_rng_create(devices->machine->space, devices->loop, &devices->rng);

	if (error != 0)
		return complain("entropy source", error);
	*virtio = virtio_rng_virtio(devices->rng);
	return 0;
}

static void destroy_rng(struct devices *devices)
{
	virtio_rng_destroy(devices->rng);
}

static size_t count_disks(const struct devices_config *config)
{
	return config->disk_count;
}

/*
 * The most that a disk may pin at a time. All disks together get half of what the manager lets be
 * pinned, which is a quarter of the budget.
 */
static uint64_t pin_bytes(const struct machine *machine, size_t disk_count)
{
	struct mm_stats stats;
	uint64_t share;

	if (machine->mm == NULL)
		return 0;
	mm_stats_get(machine->mm, &stats);
	share = stats.budget_bytes / 8 / disk_count / PAGE_SIZE * PAGE_SIZE;
	if (stats.budget_bytes == 0 || share >= VIRTIO_BLOCK_PIN_BYTES)
		return 0;
	return share > PAGE_SIZE ? share : PAGE_SIZE;
}

static int create_disk(struct devices *devices, const struct devices_config *config, size_t at,
		       struct virtio **virtio)
{
	const struct devices_disk *disk = &config->disk[at];
	struct virtio_block_config block = {
		.number = (unsigned)at,
		.space = devices->machine->space,
		.loop = devices->loop,
		.pin_bytes = pin_bytes(devices->machine, config->disk_count),
	};
	int error = block_file_open(disk->path, disk->read_only, &block.file);

	if (error != 0)
		return error;
	error = virtio_block_create(&block, &devices->disk[at]);
	if (error != 0) {
		log_error("%s: cannot be made a disk: %s", disk->path, strerror(-error));
		return error;
	}
	devices->disk_count++;
	*virtio = virtio_block_virtio(devices->disk[at]);
	return 0;
}

static void destroy_disks(struct devices *devices)
{
	for (size_t i = 0; i < devices->disk_count; i++)
		virtio_block_destroy(devices->disk[i]);
}

/* In the order of their numbers. */
static const struct device_kind {
	size_t (*count)(const struct devices_config *config);
	/* The device at this place among its kind. 0 or -errno, logged; then the kind's destroy()
	 * frees what was made all the same. */
	int (*create)(struct devices *devices, const struct devices_config *config, size_t at,
		      struct virtio **virtio);
	void (*destroy)(struct devices *devices); /* all of the kind; also none */
	/* Its member of 'bifold stat', also where there is none of the kind; NULL: it has none. */
	const char *member;
	json_t *(*to_json)(const struct devices *devices);
} kinds[] = {
	{ count_consoles, create_console, destroy_console, NULL, NULL },
	{ count_balloons, create_balloon, destroy_balloon, "balloon", devices_balloon_to_json },
	{ count_rngs, create_rng, destroy_rng, NULL, NULL },
	{ count_disks, create_disk, destroy_disks, "disks", devices_disks_to_json },
};
#define KIND_COUNT (sizeof(kinds) / sizeof(kinds[0]))

_Static_assert(KIND_COUNT - 1 + DEVICES_DISK_MAX <= PLATFORM_VIRTIO_MAX,
	       "there is a place for each device");

static int create_kind(struct devices *devices, const struct device_kind *kind,
		       const struct devices_config *config)
{
	size_t count = kind->count(config);

	for (size_t at = 0; at < count; at++) {
		struct virtio *virtio;
		int error = kind->create(devices, config, at, &virtio);

		if (error != 0)
			return error;
		error = wire(devices, virtio);
		if (error != 0)
			return complain(virtio->name, error);
	}
	return 0;
}

int devices_create(struct devices *devices, struct machine *machine,
		   const struct devices_config *config)
{
	int error;

	*devices = (struct devices){ .machine = machine };
	if (config->disk_count > DEVICES_DISK_MAX) {
		log_error("a machine has %u disks at most", DEVICES_DISK_MAX);
		return -E2BIG;
	}
	error = loop_create(&devices->loop);
	if (error != 0)
		complain("devices' loop", error);
	for (size_t i = 0; i < KIND_COUNT && error == 0; i++)
		error = create_kind(devices, &kinds[i], config);
	return error;
}

/* --- the thread --- */

static void *serve(void *argument)
{
	struct devices *devices = argument;
	int error;

	pthread_setname_np(pthread_self(), "bifold-devices");
	error = loop_run(devices->loop);
	if (error != 0)
		machine_fail(devices->machine, "nobody serves the devices any more: %s",
			     strerror(-error));
	return NULL;
}

int devices_start(struct devices *devices)
{
	int error = 0;

	if (devices->loop != NULL)
		error = -pthread_create(&devices->thread, NULL, serve, devices);
	devices->started = devices->loop != NULL && error == 0;
	return error;
}

void devices_stop(struct devices *devices)
{
	if (!devices->started)
		return;
	loop_stop(devices->loop);
	pthread_join(devices->thread, NULL);
	devices->started = false;
	if (devices->console != NULL)
		virtio_console_drain(devices->console, DRAIN_MS);
}

void devices_destroy(struct devices *devices)
{
	devices_stop(devices);
	for (size_t i = 0; i < KIND_COUNT; i++)
		kinds[i].destroy(devices);
	loop_destroy(devices->loop);
	*devices = (struct devices){ 0 };
}

void devices_add_to_json(const struct devices *devices, json_t *stat)
{
	for (size_t i = 0; i < KIND_COUNT; i++)
		if (kinds[i].member != NULL)
			json_object_set_new(stat, kinds[i].member, kinds[i].to_json(devices));
}

void devices_set_balloon(struct devices *devices, uint32_t pages)
{
	if (devices->pilot != NULL)
		auto_balloon_set(devices->pilot, pages);
	else if (devices->balloon != NULL)
		virtio_balloon_set_target(devices->balloon, pages);
}

void devices_write_words(const struct devices *devices, FILE *out)
{
	for (unsigned i = 0; i < devices->count; i++)
		fprintf(out, "virtio_mmio.device=4K@0x%lx:%u ",
			PLATFORM_VIRTIO_BASE + i * PLATFORM_VIRTIO_BYTES, PLATFORM_VIRTIO_GSI + i);
}
