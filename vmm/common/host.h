/* Properties of this host. */
#ifndef VMM_COMMON_HOST_H
#define VMM_COMMON_HOST_H

#include <stdbool.h>
#include <stdint.h>

/* "ept", "npt" or "shadow": how KVM here folds guest-physical addresses. */
const char *host_second_layer(void);

/* The number of levels that the tables of KVM's second layer have here, for pages of 4 KiB. */
unsigned host_second_levels(void);

/* Whether KVM here emulates a guest's ring 0: it has neither VMX nor SVM. */
bool host_emulates_ring0(void);

/*
 * The memory, in bytes, that this host spends on a guest under such a budget, beside what the
 * memory manager holds: it is charged to the budget. It does not include some MiB for any program
 * of this kind, nor the part that grows with the guest's memory: HOST_BYTES_PER_MIB at the very
 * most.
 */
uint64_t host_spends(unsigned cpu_count, uint64_t budget_bytes);

/*
 * How many pages of shadow tables KVM may have for a guest under such a budget (0: none, as many as
 * KVM itself would choose for its memory). 0: the second layer is the processor's, and KVM's tables
 * are bounded by the guest's memory.
 */
uint32_t host_shadow_pages(uint64_t budget_bytes, uint64_t memory_bytes);

/*
 * For each MiB of a guest's memory, all of it touched. Page tables of both views of it, 2 KiB each;
 * KVM's own, 2 KiB, where the second layer is the processor's; where it is not, KVM's lists of who
 * maps a page, 2.5 KiB; and nodes of the memfd's index, of pages that lie scattered, 1 KiB.
 */
#define HOST_BYTES_PER_MIB 8192

#endif
