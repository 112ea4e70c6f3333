#include "vmm/machine/auto_balloon.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/units.h"
#include "devices/loop.h"
#include "pilot/autoballoon.h"
#include "vmm/machine/internal.h"

/* (C) constant after create; (L) lock */
struct auto_balloon {
	struct devices *devices; /* (C) */
	int timer_fd;		 /* (C) */
	pthread_mutex_t lock;
	struct autoballoon controller;	/* (L) */
	enum autoballoon_reason reason; /* (L) of the last decision */
	uint32_t target;		/* (L) pages */
};

static void read_pressure(struct autoballoon_sample *sample)
{
	FILE *file = fopen("/proc/pressure/memory", "re");
	double some;

	if (file == NULL)
		return;
	if (fscanf(file, "some avg10=%lf", &some) == 1) {
		sample->host.has_pressure = true;
		sample->host.some_avg10 = (uint32_t)(some * 100);
	}
	fclose(file);
}

static void read_host(struct autoballoon_sample *sample)
{
	FILE *file = fopen("/proc/meminfo", "re");
	unsigned long long total, free_kib, available;

	if (file == NULL)
		return;
	if (fscanf(file, "MemTotal: %llu kB MemFree: %llu kB MemAvailable: %llu kB", &total,
		   &free_kib, &available) == 3) {
		sample->host.total_bytes = total << 10;
		sample->host.available_bytes = available << 10;
	}
	fclose(file);
}

static void read_guest(const struct virtio_balloon_state *state, struct autoballoon_guest *guest)
{
	static const struct {
		enum virtio_balloon_statistic from;
		enum autoballoon_known to;
	} known[] = {
		{ VIRTIO_BALLOON_FREE, AUTOBALLOON_FREE },
		{ VIRTIO_BALLOON_AVAILABLE, AUTOBALLOON_AVAILABLE },
		{ VIRTIO_BALLOON_SWAP_OUT, AUTOBALLOON_SWAPS },
		{ VIRTIO_BALLOON_MAJOR_FAULT, AUTOBALLOON_MAJOR_FAULTS },
		{ VIRTIO_BALLOON_OOM_KILL, AUTOBALLOON_OOM_KILLS },
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (state->known & 1u << known[i].from)
			guest->known |= known[i].to;
	guest->when_ns = state->statistics_ns;
	guest->balloon_pages = state->held;
	guest->free_bytes = state->statistic[VIRTIO_BALLOON_FREE];
	guest->available_bytes = state->statistic[VIRTIO_BALLOON_AVAILABLE];
	guest->swapped_in_bytes = state->statistic[VIRTIO_BALLOON_SWAP_IN];
	guest->swapped_out_bytes = state->statistic[VIRTIO_BALLOON_SWAP_OUT];
	guest->major_faults = state->statistic[VIRTIO_BALLOON_MAJOR_FAULT];
	guest->oom_kills = state->statistic[VIRTIO_BALLOON_OOM_KILL];
}

static void take_sample(struct machine *machine, const struct virtio_balloon_state *state,
			struct autoballoon_sample *sample)
{
	struct mm_stats stats;

	*sample = (struct autoballoon_sample){
		.now_ns = clock_now_ns(),
		.balloon_pages = state->held,
	};
	read_guest(state, &sample->guest);
	if (machine->mm != NULL) {
		mm_stats_get(machine->mm, &stats);
		sample->mm.budget_bytes = stats.budget_bytes;
		sample->mm.held_bytes = stats.held_bytes;
		sample->mm.refaults_near = stats.refaults_near;
		sample->mm.pressure_ns = stats.pressure_ns;
	}
	read_pressure(sample);
	read_host(sample);
}

static void tell(const struct autoballoon_decision *decision)
{
	char text[UNITS_TEXT_SIZE];

	log_info("balloon: %s: %s", units_format_size(decision->target_pages << PAGE_SHIFT, text),
		 autoballoon_reason_text(decision->reason));
}

static void on_tick(void *context, uint32_t events)
{
	struct auto_balloon *pilot = context;
	struct virtio_balloon *balloon = pilot->devices->balloon;
	struct autoballoon_decision decision;
	struct autoballoon_sample sample;
	struct virtio_balloon_state state;
	uint64_t ticks;
	bool moved;

	if (read(pilot->timer_fd, &ticks, sizeof(ticks)) != sizeof(ticks))
		return;
	virtio_balloon_get(balloon, &state);
	if (!state.ready)
		return;
	take_sample(pilot->devices->machine, &state, &sample);
	pthread_mutex_lock(&pilot->lock);
	decision = autoballoon_step(&pilot->controller, &sample);
	moved = decision.target_pages != pilot->target;
	pilot->target = (uint32_t)decision.target_pages;
	pilot->reason = decision.reason;
	if (moved)
		virtio_balloon_set_target(balloon, pilot->target);
	pthread_mutex_unlock(&pilot->lock);
	if (moved)
		tell(&decision);
	virtio_balloon_ask_statistics(balloon);
}

int auto_balloon_create(struct devices *devices, struct auto_balloon **out)
{
	const struct itimerspec period = { .it_interval.tv_sec = 1, .it_value.tv_sec = 1 };
	const struct autoballoon_config config = {
		.guest_pages = devices->machine->memory_bytes >> PAGE_SHIFT,
	};
	struct auto_balloon *pilot = calloc(1, sizeof(*pilot));
	int error;

	CHECK(pilot != NULL);
	_Static_assert(AUTOBALLOON_PERIOD_NS == 1000000000, "the timer's period");
	pthread_mutex_init(&pilot->lock, NULL);
	pilot->devices = devices;
	autoballoon_init(&pilot->controller, &config);
	pilot->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (pilot->timer_fd < 0 || timerfd_settime(pilot->timer_fd, 0, &period, NULL) != 0)
		error = -errno;
	else
		error = loop_add(devices->loop, pilot->timer_fd, EPOLLIN, on_tick, pilot);
	if (error != 0) {
		auto_balloon_destroy(pilot);
		return error;
	}
	*out = pilot;
	return 0;
}

void auto_balloon_destroy(struct auto_balloon *pilot)
{
	if (pilot == NULL)
		return;
	if (pilot->timer_fd >= 0)
		close(pilot->timer_fd);
	pthread_mutex_destroy(&pilot->lock);
	free(pilot);
}

void auto_balloon_set(struct auto_balloon *pilot, uint32_t pages)
{
	pthread_mutex_lock(&pilot->lock);
	autoballoon_set(&pilot->controller, pages);
	pilot->target = pages;
	virtio_balloon_set_target(pilot->devices->balloon, pages);
	pthread_mutex_unlock(&pilot->lock);
}

const char *auto_balloon_reason(struct auto_balloon *pilot)
{
	enum autoballoon_reason reason;

	pthread_mutex_lock(&pilot->lock);
	reason = pilot->reason;
	pthread_mutex_unlock(&pilot->lock);
	return autoballoon_reason_text(reason);
}
