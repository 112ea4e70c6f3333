/*
 * A virtio device's life: status and features, reset, being broken, kicks and interrupts.
 */
#include "devices/virtio/virtio.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <linux/virtio_ring.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/event.h"
#include "base/log.h"
#include "devices/loop.h"
#include "devices/virtio/internal.h"
#include "ept/access.h"

/* A guest that resets its device only to break it again gets a line that often. */
#define TELL_NS 10000000000ull

#define CORE_FEATURES                                                                              \
	(1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_RING_F_EVENT_IDX |                            \
	 1ull << VIRTIO_RING_F_INDIRECT_DESC)

void virtio_lock(struct virtio *virtio)
{
	pthread_mutex_lock(&virtio->lock);
	while (virtio->away)
		pthread_cond_wait(&virtio->back, &virtio->lock);
}

bool virtio_glance(struct virtio *virtio)
{
	pthread_mutex_lock(&virtio->lock);
	return !virtio->away;
}

void virtio_unlock(struct virtio *virtio)
{
	pthread_mutex_unlock(&virtio->lock);
}

static void ring_event(struct virtio *virtio, int fd)
{
	int error = event_put(fd);

	if (error != 0)
		loop_fail(virtio->loop, error);
}

void virtio_kick(struct virtio *virtio, unsigned queue)
{
	ring_event(virtio, virtio->queue[queue].kick_fd);
}

void virtio_leave(struct virtio *virtio)
{
	virtio->away = true;
	pthread_mutex_unlock(&virtio->lock);
}

void virtio_return(struct virtio *virtio)
{
	pthread_mutex_lock(&virtio->lock);
	virtio->away = false;
	pthread_cond_broadcast(&virtio->back);
	if (!virtio->missed)
		return;
	virtio->missed = false;
	for (unsigned i = 0; i < virtio->ops->queue_count; i++)
		virtio_kick(virtio, i);
}

bool virtio_vm_ends(int error)
{
	return error != 0 && error != -ENOMEM && error != -EBUSY && error != -EFAULT &&
	       error != -EINVAL;
}

void virtio_end(struct virtio *virtio)
{
	virtio->status |= VIRTIO_CONFIG_S_NEEDS_RESET;
}

int virtio_bring_in(struct virtio *virtio, gpa_t address)
{
	int error;

	virtio_leave(virtio);
	error = ept_bring_in(virtio->space, address);
	virtio_return(virtio);
	if (error != 0)
		virtio_end(virtio);
	return error;
}

void virtio_interrupt(struct virtio *virtio, uint32_t bit)
{
	__atomic_fetch_or(&virtio->interrupt_status, bit, __ATOMIC_SEQ_CST);
	ring_event(virtio, virtio->interrupt_fd);
}

static void on_kick(void *context, uint32_t events)
{
	struct virtio_queue *queue = context;
	struct virtio *virtio = queue->virtio;
	uint64_t count;

	if (read(queue->kick_fd, &count, sizeof(count)) != sizeof(count))
		return;
	if (!virtio_glance(virtio))
		virtio->missed = true;
	else if (virtio_is_live(virtio) && queue->ready)
		virtio->ops->notify(virtio->device, (unsigned)(queue - virtio->queue));
	virtio_unlock(virtio);
}

bool virtio_is_live(const struct virtio *virtio)
{
	const uint32_t bits =
		VIRTIO_CONFIG_S_DRIVER_OK | VIRTIO_CONFIG_S_NEEDS_RESET | VIRTIO_CONFIG_S_FAILED;

	return (virtio->status & bits) == VIRTIO_CONFIG_S_DRIVER_OK;
}

void virtio_config_changed(struct virtio *virtio)
{
	virtio->config_generation++;
	if (virtio->status & VIRTIO_CONFIG_S_DRIVER_OK)
		virtio_interrupt(virtio, VIRTIO_MMIO_INT_CONFIG);
}

void virtio_break(struct virtio *virtio, const char *format, ...)
{
	uint64_t now = clock_now_ns();
	char what[160], more[48] = "";
	va_list arguments;

	if (virtio_is_broken(virtio))
		return;
	virtio->status |= VIRTIO_CONFIG_S_NEEDS_RESET;
	if (virtio->status & VIRTIO_CONFIG_S_DRIVER_OK)
		virtio_interrupt(virtio, VIRTIO_MMIO_INT_CONFIG);
	if (virtio->told_ns != 0 && now - virtio->told_ns < TELL_NS) {
		virtio->untold++;
		return;
	}
	va_start(arguments, format);
	vsnprintf(what, sizeof(what), format, arguments);
	va_end(arguments);
	if (virtio->untold > 0)
		snprintf(more, sizeof(more), " (and broke %u times before)", virtio->untold);
	log_warn("virtio %s is broken: %s%s; it waits for the driver to reset it", virtio->name,
		 what, more);
	virtio->told_ns = now;
	virtio->untold = 0;
}

static void reset(struct virtio *virtio)
{
	if (virtio->status != 0 && virtio->ops->reset != NULL)
		virtio->ops->reset(virtio->device);
	for (unsigned i = 0; i < virtio->ops->queue_count; i++) {
		struct virtio_queue *queue = &virtio->queue[i];

		virtio_queue_disable(virtio, queue);
		/* The members before it are constant, and read without the lock. */
		memset(&queue->ready, 0, sizeof(*queue) - offsetof(struct virtio_queue, ready));
	}
	virtio->status = 0;
	virtio->accepted = 0;
	virtio->queue_select = 0;
	memset(virtio->feature_select, 0, sizeof(virtio->feature_select));
	__atomic_store_n(&virtio->interrupt_status, 0, __ATOMIC_SEQ_CST);
}

void virtio_accept_features(struct virtio *virtio, uint32_t half, uint32_t bits)
{
	unsigned shift;

	if (virtio->status & VIRTIO_CONFIG_S_FEATURES_OK) {
		virtio_break(virtio, "it changed the features after they were settled");
		return;
	}
	if (half > 1) {
		if (bits != 0)
			virtio_break(virtio, "it accepted features that are not offered");
		return;
	}
	shift = half * 32;
	virtio->accepted &= ~((uint64_t)UINT32_MAX << shift);
	virtio->accepted |= (uint64_t)bits << shift;
}

static bool features_are_good(const struct virtio *virtio)
{
	return (virtio->accepted & ~virtio->offered) == 0 &&
	       virtio_has(virtio, 1ull << VIRTIO_F_VERSION_1);
}

static void start(struct virtio *virtio)
{
	if (virtio->ops->start != NULL)
		virtio->ops->start(virtio->device);
	/* Chains that were made available before now are served as well. */
	for (unsigned i = 0; i < virtio->ops->queue_count; i++)
		virtio_kick(virtio, i);
}

/* Bits are only ever added: which, is what the driver has just come to. */
void virtio_set_status(struct virtio *virtio, uint32_t status)
{
	uint32_t added = status & ~virtio->status & 0xff & ~VIRTIO_CONFIG_S_NEEDS_RESET;

	if (status == 0) {
		reset(virtio);
		return;
	}
	if (virtio_is_broken(virtio))
		return;
	if (virtio->status & ~status) {
		virtio_break(virtio, "it cleared status bits without a reset");
		return;
	}
	/* Features that it must not have: it reads the status back and finds the bit missing. */
	if ((added & VIRTIO_CONFIG_S_FEATURES_OK) && !features_are_good(virtio))
		added &= ~(uint32_t)VIRTIO_CONFIG_S_FEATURES_OK;
	virtio->status |= added;
	if (added & VIRTIO_CONFIG_S_FAILED)
		log_info("virtio %s: the guest's driver has given up", virtio->name);
	if (!(added & VIRTIO_CONFIG_S_DRIVER_OK))
		return;
	if (virtio->status & VIRTIO_CONFIG_S_FEATURES_OK)
		start(virtio);
	else
		virtio_break(virtio, "it is ready though no features were settled");
}

static void close_events(struct virtio *virtio)
{
	for (unsigned i = 0; i < VIRTIO_QUEUES; i++)
		if (virtio->queue[i].kick_fd >= 0)
			close(virtio->queue[i].kick_fd);
	if (virtio->interrupt_fd >= 0)
		close(virtio->interrupt_fd);
}

static int open_events(struct virtio *virtio)
{
	const int flags = EFD_CLOEXEC | EFD_NONBLOCK;

	virtio->interrupt_fd = eventfd(0, flags);
	if (virtio->interrupt_fd < 0)
		return -errno;
	for (unsigned i = 0; i < virtio->ops->queue_count; i++) {
		virtio->queue[i].kick_fd = eventfd(0, flags);
		if (virtio->queue[i].kick_fd < 0)
			return -errno;
	}
	return 0;
}

int virtio_init(struct virtio *virtio, const struct virtio_config *config)
{
	unsigned watched = 0;
	int error;

	CHECK(config->ops->queue_count <= VIRTIO_QUEUES);
	*virtio = (struct virtio){
		.ops = config->ops,
		.device = config->device,
		.space = config->space,
		.loop = config->loop,
		.offered = config->features | CORE_FEATURES,
		.config = config->config,
		.config_size = config->config_size,
	};
	snprintf(virtio->name, sizeof(virtio->name), "%s %u", config->ops->name, config->number);
	for (unsigned i = 0; i < VIRTIO_QUEUES; i++)
		virtio->queue[i] = (struct virtio_queue){ .virtio = virtio, .kick_fd = -1 };
	error = open_events(virtio);
	while (error == 0 && watched < virtio->ops->queue_count) {
		struct virtio_queue *queue = &virtio->queue[watched];

		error = loop_add(virtio->loop, queue->kick_fd, EPOLLIN, on_kick, queue);
		watched += error == 0;
	}
	if (error != 0) {
		while (watched-- > 0)
			loop_remove(virtio->loop, virtio->queue[watched].kick_fd);
		close_events(virtio);
		return error;
	}
	pthread_mutex_init(&virtio->lock, NULL);
	pthread_cond_init(&virtio->back, NULL);
	return 0;
}

void virtio_finish(struct virtio *virtio)
{
	for (unsigned i = 0; i < virtio->ops->queue_count; i++) {
		loop_remove(virtio->loop, virtio->queue[i].kick_fd);
		virtio_queue_disable(virtio, &virtio->queue[i]);
	}
	close_events(virtio);
	pthread_cond_destroy(&virtio->back);
	pthread_mutex_destroy(&virtio->lock);
}
