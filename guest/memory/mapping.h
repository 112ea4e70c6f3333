/* Files that are mapped: changes to every mapping of a page (space_unmap_file() is another, in
 * space.h). */
#ifndef GUEST_MEMORY_MAPPING_H
#define GUEST_MEMORY_MAPPING_H

#include "guest/memory/space.h"

/* msync: the written pages of shared mappings in [start, end) are clean from now on. A RAM file
 * system has nothing to write to: the page is the file. */
void mapping_write_back(struct space *space, uint64_t start, uint64_t end);

/* Page `index` of the file is clean from now on: read-only wherever it is mapped as the file's, so
 * that the next write says so. */
void mapping_clean_page(struct content *content, uint64_t index);

#endif
