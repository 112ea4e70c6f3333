/*
 * The virtio memory balloon (VIRTIO 1.2, section 5.5): the guest is asked for pages, gives them,
 * takes them back; sends statistics on its memory; and reports the pages that it has free.
 *
 * The device keeps one bit a frame: whether the page is in the balloon. It hands pages on in the
 * longest runs there are in a buffer. A page twice in one buffer or outside RAM breaks the device.
 * Inflating a page that is in already, or deflating one that is not, does no harm and changes
 * nothing: it is counted, and no event is called. A driver that resets the device has lost track of
 * its pages: all of them leave the balloon.
 */
#ifndef DEVICES_VIRTIO_BALLOON_H
#define DEVICES_VIRTIO_BALLOON_H

#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"

struct ept_space;
struct loop;
struct virtio;
struct virtio_balloon;

/*
 * Each hook is called with the device's lock held, so it calls nothing of the balloon's: on the
 * loop's thread, but for the deflate of a reset, on a vCPU's. 0 or -errno, which breaks the device.
 */
struct virtio_balloon_events {
	/* The guest has given these pages away: their content is nobody's any more. */
	int (*inflate)(void *context, gfn_t first, uint32_t count);
	/* It takes them back, or has done so already. */
	int (*deflate)(void *context, gfn_t first, uint32_t count);
	/* The guest does not use these pages now; it may at any moment once the call has returned,
	 * without a word, and then expects this 32-bit pattern all over them (0: zeros). */
	int (*report)(void *context, gfn_t first, uint32_t count, uint32_t poison);
	/* New statistics have come. NULL: nobody waits for them. */
	void (*statistics)(void *context);
	/* The driver has changed 'actual', or has become ready, or was reset. NULL: nobody waits
	 * for it. */
	void (*changed)(void *context);
};

struct virtio_balloon_config {
	struct ept_space *space;
	struct loop *loop;
	bool reporting; /* offer free page reporting */
	const struct virtio_balloon_events *events;
	void *context;
};

/* The statistics that the guest may send, with the tags of section 5.5.6.4 and those added since
 * (from OOM_KILL on). */
enum virtio_balloon_statistic {
	VIRTIO_BALLOON_SWAP_IN,	    /* bytes */
	VIRTIO_BALLOON_SWAP_OUT,    /* bytes */
	VIRTIO_BALLOON_MAJOR_FAULT, /* count, as all below that do not say bytes */
	VIRTIO_BALLOON_MINOR_FAULT,
	VIRTIO_BALLOON_FREE,	  /* bytes: used for nothing */
	VIRTIO_BALLOON_TOTAL,	  /* bytes */
	VIRTIO_BALLOON_AVAILABLE, /* bytes: what programs could get without swapping */
	VIRTIO_BALLOON_CACHES,	  /* bytes */
	VIRTIO_BALLOON_HUGE_ALLOC,
	VIRTIO_BALLOON_HUGE_FAIL,
	VIRTIO_BALLOON_OOM_KILL,
	VIRTIO_BALLOON_ALLOC_STALL,
	VIRTIO_BALLOON_ASYNC_SCAN, /* bytes, as all below */
	VIRTIO_BALLOON_DIRECT_SCAN,
	VIRTIO_BALLOON_ASYNC_RECLAIM,
	VIRTIO_BALLOON_DIRECT_RECLAIM,
	VIRTIO_BALLOON_STATISTICS
};

/* Pages are of 4 KiB. */
struct virtio_balloon_state {
	bool ready;	     /* a driver is there and works */
	bool can_report;     /* it took F_REPORTING */
	bool has_statistics; /* it took F_STATS_VQ */
	bool deflates_on_oom;
	uint32_t poison; /* the pattern of its free pages; 0: none, or it gave none */
	uint32_t target; /* pages it was asked to have in the balloon */
	uint32_t actual; /* pages it says it has there */
	uint32_t held;	 /* pages there by our own count */
	/* Pages, since the device was made: */
	uint64_t inflated, deflated, reported;
	uint64_t inflated_twice;  /* were in the balloon already */
	uint64_t deflated_absent; /* were not in it */
	uint64_t statistics_ns;	  /* when the last came, clock_now_ns(); 0: none have */
	uint32_t known;		  /* 1 << enum virtio_balloon_statistic: which of them it told */
	uint64_t statistic[VIRTIO_BALLOON_STATISTICS];
};

/* 0 or -errno. */
int virtio_balloon_create(const struct virtio_balloon_config *config,
			  struct virtio_balloon **balloon);
/* Takes NULL. The loop must not run any more, vCPUs neither. No event is called. */
void virtio_balloon_destroy(struct virtio_balloon *balloon);

struct virtio *virtio_balloon_virtio(struct virtio_balloon *balloon);

/* All from any thread. */

/* How many pages the guest shall have in the balloon. Kept over a reset. */
void virtio_balloon_set_target(struct virtio_balloon *balloon, uint32_t pages);

void virtio_balloon_get(struct virtio_balloon *balloon, struct virtio_balloon_state *state);

/* Whether a page is in the balloon: a touch of it is a mistake of the guest's. No lock is taken:
 * what is true at some moment of the call. */
bool virtio_balloon_has(const struct virtio_balloon *balloon, gfn_t frame);

/* Asks for statistics, which statistics() then announces. 0; -EAGAIN: they are on their way, or the
 * driver gives none. */
int virtio_balloon_ask_statistics(struct virtio_balloon *balloon);

#endif
