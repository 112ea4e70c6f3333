/*
 * Checked accesses of the monitor to guest memory: the one way in for loaders, devices, walkers and
 * dumps.
 */
#ifndef EPT_ACCESS_H
#define EPT_ACCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"

struct ept_space;

/* Whether all of the frames lie in one piece of guest RAM. */
bool ept_space_has(const struct ept_space *space, gfn_t first, uint32_t count);

uint32_t ept_space_frame_count(const struct ept_space *space); /* the highest gfn + 1 */

/*
 * The monitor's own accesses to guest memory. The whole range must lie in one piece of guest RAM
 * (-EFAULT otherwise, nothing touched); frames are pinned piece by piece while they are copied.
 * 0 or -errno of the manager's pin. A page without room in memory now is brought in as by
 * ept_bring_in(), so no lock may be held that the VM's end needs.
 */
int ept_read(struct ept_space *space, gpa_t address, void *buffer, size_t length);
int ept_write(struct ept_space *space, gpa_t address, const void *buffer, size_t length);
/* The same, but -ENOMEM where there is no room now; some of it may have been copied. */
int ept_try_read(struct ept_space *space, gpa_t address, void *buffer, size_t length);
int ept_try_write(struct ept_space *space, gpa_t address, const void *buffer, size_t length);

/*
 * Brings a page in as a fault of the guest's does: where the disk of the swap file is full, this
 * may wait for as long as the VM stands. 0: it was in memory, though it may have left already. An
 * error has stopped the VM. -EFAULT as above.
 */
int ept_bring_in(struct ept_space *space, gpa_t address);

/*
 * For I/O straight from and to guest memory: keeps the frames of a range in memory and sets *at to
 * where the monitor has them, as one piece, until unpinned with the same address and length.
 * -EFAULT as above; -ENOMEM when the budget cannot hold them now, -EBUSY when there are too many
 * pins: try less, or later. Unmanaged: only the range is checked.
 */
int ept_pin(struct ept_space *space, gpa_t address, size_t length, void **at);
void ept_unpin(struct ept_space *space, gpa_t address, size_t length);

/*
 * Reads without bringing anything in or telling anybody: stored pages are copied from where they
 * are stored. For walkers and other callers that only look. -EFAULT as above, -EBADMSG or -errno of
 * a page that cannot be read back, which concerns this caller alone.
 */
int ept_look(struct ept_space *space, gpa_t address, void *buffer, size_t length);

#endif
