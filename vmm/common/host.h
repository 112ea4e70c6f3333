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
 * of this kind, nor what grows with the guest's memory: host_unit_bytes(), and the rest,
 * HOST_BYTES_PER_MIB at the very most.
 */
uint64_t host_spends(unsigned cpu_count, uint64_t budget_bytes);

/*
 * The page tables for 2 MiB of the guest, in bytes: a page of each view's, and one of KVM's where
 * the second layer is the processor's. Charged to the budget when the guest first touches them.
 */
uint64_t host_unit_bytes(void);

/*
 * How many pages of shadow tables KVM may have for a guest under such a budget (0: none, as many as
 * KVM itself would choose for its memory). 0: the second layer is the processor's, and KVM's tables
 * are bounded by the guest's memory.
 */
uint32_t host_shadow_pages(uint64_t budget_bytes, uint64_t memory_bytes);

/*
 * What is not charged, for each MiB of a guest's memory, all of it touched: nodes of the memfd's
 * index, of pages that lie scattered, 1 KiB; and where KVM shadows, its lists of who maps a page,
 * 2.5 KiB.
 */
#define HOST_BYTES_PER_MIB 4096

#endif
