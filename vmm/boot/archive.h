/*
 * The guest's root: a cpio archive ("newc") whose regular files start at page boundaries, so that
 * the guest maps file pages where they lie. Entries are listed first, then the whole is written
 * piece by piece into whatever takes it; file contents are never held in the monitor.
 */
#ifndef VMM_BOOT_ARCHIVE_H
#define VMM_BOOT_ARCHIVE_H

#include <stddef.h>
#include <stdint.h>

struct archive;

struct archive *archive_create(void);
void archive_destroy(struct archive *archive); /* takes NULL */

/*
 * A file of the host, opened now and kept open; guest is absolute. 0 or -errno, with a line logged.
 * The same file under the same path again changes nothing. -EEXIST: another file has the path.
 */
int archive_add_file(struct archive *archive, const char *host, const char *guest);

/* An executable from memory that outlives the archive. */
int archive_add_memory(struct archive *archive, const void *data, size_t size, const char *guest);

/* Bytes of the whole, a multiple of the page size. */
uint64_t archive_size(const struct archive *archive);

/*
 * Hands the archive to take() in order. take's error ends it and is returned; a file that became
 * shorter since it was added is -EIO, with a line logged.
 */
typedef int archive_take_fn(void *context, uint64_t offset, const void *data, size_t length);
int archive_write(struct archive *archive, archive_take_fn *take, void *context);

#endif
