#include "vmm/machine/devices.h"

#include <errno.h>
#include <linux/kvm.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/log.h"
#include "devices/loop.h"
#include "devices/virtio/virtio.h"
#include "vmm/machine/auto_balloon.h"
#include "vmm/machine/machine.h"

/* How long a slow reader of the console may take for what is left at the end. */
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
	machine_put_event(((struct machine *)context)->input_fd);
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

static int add_console(struct devices *devices, const struct devices_config *config)
{
	const struct virtio_console_config console = {
		.space = devices->machine->space,
		.loop = devices->loop,
		.output_fd = config->console_fd,
		.output_first = devices->machine->stock,
		.events = &console_events,
		.context = devices->machine,
	};
	int error = virtio_console_create(&console, &devices->console);

	return error != 0 ? error : wire(devices, virtio_console_virtio(devices->console));
}

static int add_balloon(struct devices *devices, const struct devices_config *config)
{
	const struct virtio_balloon_config balloon = {
		.space = devices->machine->space,
		.loop = devices->loop,
		.reporting = config->reporting,
		.events = &balloon_events,
		.context = devices->machine,
	};
	int error = virtio_balloon_create(&balloon, &devices->balloon);

	if (error == 0)
		error = wire(devices, virtio_balloon_virtio(devices->balloon));
	if (error == 0 && config->auto_balloon)
		error = auto_balloon_create(devices, &devices->pilot);
	return error;
}

static int add_rng(struct devices *devices)
{
	int error = virtio_rng_create(devices->machine->space, devices->loop, &devices->rng);

	return error != 0 ? error : wire(devices, virtio_rng_virtio(devices->rng));
}

/*
 * What a disk may pin at a time: half of what the manager lets be pinned (a quarter of the budget)
 * is for all of them.
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

/* 0 or -errno; what is wrong with the file is logged. */
static int add_disk(struct devices *devices, const struct devices_disk *disk, uint64_t pin)
{
	struct virtio_block_config config = {
		.number = (unsigned)devices->disk_count,
		.space = devices->machine->space,
		.loop = devices->loop,
		.pin_bytes = pin,
	};
	int error = block_file_open(disk->path, disk->read_only, &config.file);

	if (error != 0)
		return error;
	error = virtio_block_create(&config, &devices->disk[devices->disk_count]);
	if (error == 0)
		error = wire(devices, virtio_block_virtio(devices->disk[devices->disk_count++]));
	if (error != 0)
		log_error("%s: cannot be made a disk: %s", disk->path, strerror(-error));
	return error;
}

static int add_disks(struct devices *devices, const struct devices_config *config)
{
	uint64_t pin;
	int error = 0;

	if (config->disk_count > DEVICES_DISK_MAX) {
		log_error("a machine has %u disks at most", DEVICES_DISK_MAX);
		return -E2BIG;
	}
	if (config->disk_count == 0)
		return 0;
	pin = pin_bytes(devices->machine, config->disk_count);
	for (size_t i = 0; i < config->disk_count && error == 0; i++)
		error = add_disk(devices, &config->disk[i], pin);
	return error;
}

int devices_create(struct devices *devices, struct machine *machine,
		   const struct devices_config *config)
{
	const char *step = "loop";
	int error;

	*devices = (struct devices){ .machine = machine };
	error = loop_create(&devices->loop);
	if (error == 0 && config->console) {
		step = "console";
		error = add_console(devices, config);
	}
	if (error == 0 && config->balloon) {
		step = "balloon";
		error = add_balloon(devices, config);
	}
	if (error == 0 && config->rng) {
		step = "entropy source";
		error = add_rng(devices);
	}
	if (error != 0)
		log_error("cannot make the devices' %s: %s", step, strerror(-error));
	return error != 0 ? error : add_disks(devices, config);
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
	auto_balloon_destroy(devices->pilot);
	virtio_console_destroy(devices->console);
	virtio_balloon_destroy(devices->balloon);
	virtio_rng_destroy(devices->rng);
	for (size_t i = 0; i < devices->disk_count; i++)
		virtio_block_destroy(devices->disk[i]);
	loop_destroy(devices->loop);
	*devices = (struct devices){ 0 };
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
