/*
 * Replacement policies decide which mapped frames to watch and which frames to evict. Installed as
 * a public header; the same code runs live and in simulation.
 *
 * mm calls every hook with its lock held: a hook must not block, allocate, or call back into mm
 * (the helpers below are the exception). A policy names frames by number, 0 .. frame_count - 1,
 * and keeps its own record of each, frame_size bytes long, in an array that mm allocates zeroed and
 * charges to the budget.
 *
 * A *watched* frame is resident, and was unmapped. It is the access bit of this design: a touch
 * arrives as touched(). Where the host can, the host kernel maps the page again by itself, and
 * touched() comes when the frame is named for EVICT, in its stead; else each touch is a fault, and
 * touched() comes at once.
 *
 * The policy's decisions are advice: mm skips a frame that is pinned or busy, and offers it again
 * through inserted() or touched() when that ends.
 */
#ifndef POLICY_POLICY_H
#define POLICY_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MM_POLICY_API  1
#define MM_POLICY_NONE UINT32_MAX /* no frame */

struct mm_policy;

enum mm_policy_action {
	MM_POLICY_WATCH, /* unmap it, keep it resident: is it still used? */
	MM_POLICY_EVICT, /* store it and give its page back */
};

struct mm_policy_pick {
	uint32_t frame;
	enum mm_policy_action action;
};

/* Questions that a hook may ask mm. */
struct mm_policy_host {
	uint32_t frame_count;
	bool (*is_resident)(const struct mm_policy_host *host,
			    uint32_t frame); /* mapped or watched */
	bool (*is_watched)(const struct mm_policy_host *host, uint32_t frame);
	uint32_t (*resident_count)(const struct mm_policy_host *host);
	void *frames; /* the policy's own array: frame_count * frame_size bytes */
};

struct mm_policy_ops {
	unsigned api;	     /* MM_POLICY_API; required */
	const char *name;    /* as in --policy NAME; required */
	const char *summary; /* one line for --help; required */
	size_t frame_size;   /* bytes a frame of the policy's own; may be 0 */

	/* options: "key=value,..." or NULL. -EINVAL for what it does not know. Required. */
	int (*init)(const struct mm_policy_host *host, const char *options,
		    struct mm_policy **policy);
	void (*finish)(struct mm_policy *policy); /* required; takes NULL */

	/* The frame became resident and mapped (first touch, refault, fault-around). Required. */
	void (*inserted)(struct mm_policy *policy, uint32_t frame);

	/* A watched frame was touched and is mapped again, or one that mm passed over is free.
	 * Required. */
	void (*touched)(struct mm_policy *policy, uint32_t frame);

	/* The frame is no longer resident (evicted or discarded). Forget it. Required. */
	void (*removed)(struct mm_policy *policy, uint32_t frame);

	/*
	 * An evicted frame is coming back; inserted() follows. distance: evictions since its own
	 * (the refault distance), saturated. Optional.
	 */
	void (*refaulted)(struct mm_policy *policy, uint32_t frame, uint32_t distance);

	/*
	 * Memory is short: name up to max frames and what to do with each, the best first. want:
	 * how many evictions mm would like. Runs of neighbouring frames are cheaper than scattered
	 * ones. A frame named for EVICT must not be named again until inserted() or touched() comes
	 * for it. Returns how many were named; 0 only if nothing is resident. Required.
	 */
	size_t (*pick)(struct mm_policy *policy, size_t want, struct mm_policy_pick *picks,
		       size_t max);
};

#endif
