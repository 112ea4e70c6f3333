/*
 * The virtio memory balloon (VIRTIO 1.2, section 5.5).
 *
 * Inflating: the monitor sets a target, and free pages are taken out of use and told to it, as many
 * as can be spared; where too few can, the rest is tried again later. Deflating: the monitor lowers
 * the target, or memory runs out here: then pages come back before a program is killed. A page that
 * comes back reads as zero (guest/abi.h).
 *
 * Reporting: free blocks of 2^order pages or more are told to the monitor some time after they
 * became free, so that it may take their memory. They stay free, and read as zero then.
 *
 * All of it happens in interrupts and timers; no thread waits.
 */
#ifndef GUEST_DEVICE_BALLOON_H
#define GUEST_DEVICE_BALLOON_H

#include "guest/lib/types.h"

extern uint64_t balloon_pages; /* in the balloon */

/* Of balloon_report_order= on the command line; before virtio_init(). */
#define BALLOON_REPORT_ORDER 9
extern unsigned balloon_report_order;

/* Memory is out: some pages come back if there are any, at least `pages` if so many, and the blocks
 * that the monitor is being told of. Waits for the monitor, without sleeping, for a second at most.
 * Returns the pages that are free now and were not before. */
uint64_t balloon_release(uint64_t pages);

#endif
