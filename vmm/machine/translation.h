/*
 * An address seen through both layers: the entries that a walker reads on its way, where the page
 * is in the end, and the cost of the way. Gathered from a machine, told as JSON, and printed from
 * that for people: by 'bifold translate' and at a fatal exit alike.
 */
#ifndef VMM_MACHINE_TRANSLATION_H
#define VMM_MACHINE_TRANSLATION_H

#include <jansson.h>

#include "ept/host_page.h"
#include "ept/space.h"
#include "ept/walk.h"
#include "mm/look.h"
#include "vmm/machine/kvm_stats.h"

/* The second layer of one guest-physical address. */
struct fold {
	gpa_t address;
	struct ept_translation place;
	bool managed; /* look is good: bifold manages the guest's memory */
	struct mm_look look;
	struct ept_host_page host;
};

struct translation {
	gva_t address;
	unsigned vcpu;
	bool cr3_given; /* not the vCPU's own */
	struct ept_paging paging;
	struct ept_walk walk;
	struct fold table[EPT_WALK_LEVELS]; /* of each step's entry */
	struct fold page;		    /* if the walk reached one */
	const char *second_layer;	    /* "ept", "npt", "shadow" */
	unsigned second_levels;		    /* of its tables, for pages of 4 KiB */
	bool has_kvm_pages;		    /* at the control socket; a crash does without */
	uint64_t kvm[KVM_STAT_COUNT];
};

struct machine;

/*
 * The paging registers of the vCPU of this number. It must be outside the guest: paused, or this is
 * its thread. 0 or -errno.
 */
int translation_paging(struct machine *machine, unsigned vcpu, struct ept_paging *paging);

/* Walks paging's tables for address; the second adds where these tables are. Changes nothing that
 * it looks at. */
void translation_make(struct machine *machine, unsigned vcpu, const struct ept_paging *paging,
		      gva_t address, struct translation *translation);
void translation_make_tables(struct machine *machine, struct translation *translation);

/* A new reference, or NULL without memory. */
json_t *translation_to_json(const struct translation *translation);

/* Only the result: the page, and the rights that a program has there; or why there is none. */
json_t *translation_to_brief(const struct translation *translation);

#endif
