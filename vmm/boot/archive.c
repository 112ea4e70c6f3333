/*
 * A newc header is 110 bytes of hexadecimal, then the name with its NUL. The data's page alignment
 * comes from the name: it is followed by as many NULs as fill the page, which every reader takes as
 * part of the name and no one sees.
 */
#include "vmm/boot/archive.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/addr.h"
#include "base/check.h"
#include "base/log.h"

#define HEADER_SIZE  110
#define COPY_SIZE    65536
#define MADE_UP_MOST (64 << 20) /* bytes of a file of /proc */
#define TRAILER	     "TRAILER!!!"
#define MODE_REGULAR 0100000u

struct entry {
	char *name; /* as in the archive: without the leading slash */
	int fd;	    /* -1: data */
	const void *data;
	void *owned; /* the data, where it is the archive's own */
	uint64_t size;
	uint32_t mode;
	uint32_t mtime;
};

struct archive {
	struct entry *entry;
	size_t count;
};

struct archive *archive_create(void)
{
	struct archive *archive = calloc(1, sizeof(*archive));

	CHECK(archive != NULL);
	return archive;
}

void archive_destroy(struct archive *archive)
{
	if (archive == NULL)
		return;
	for (size_t i = 0; i < archive->count; i++) {
		free(archive->entry[i].name);
		free(archive->entry[i].owned);
		if (archive->entry[i].fd >= 0)
			close(archive->entry[i].fd);
	}
	free(archive->entry);
	free(archive);
}

static int add(struct archive *archive, const struct entry *entry, const char *guest)
{
	const char *name = guest + strspn(guest, "/");
	struct entry *grown;

	if (*guest != '/' || *name == '\0' || strlen(name) >= PATH_MAX) {
		log_error("'%s' is no absolute path of a file in the guest", guest);
		return -EINVAL;
	}
	for (size_t i = 0; i < archive->count; i++) {
		if (strcmp(archive->entry[i].name, name) == 0) {
			log_error("two files claim %s in the guest", guest);
			return -EEXIST;
		}
	}
	grown = realloc(archive->entry, (archive->count + 1) * sizeof(*grown));
	CHECK(grown != NULL);
	archive->entry = grown;
	grown[archive->count] = *entry;
	grown[archive->count].name = strdup(name);
	CHECK(grown[archive->count].name != NULL);
	archive->count++;
	return 0;
}

/*
 * A file that the kernel makes up as it is read (/proc, /sys) has no blocks, and a size that says
 * nothing: it is read to its end now. One that has neither size nor content is empty after all.
 */
static int read_now(const char *host, struct entry *entry)
{
	size_t room = COPY_SIZE, used = 0;
	char *data = malloc(room);
	int error = 0;

	CHECK(data != NULL);
	while (error == 0) {
		ssize_t n = read(entry->fd, data + used, room - used);

		if (n == 0)
			break;
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			error = -errno;
			log_error("%s: %m", host);
			break;
		}
		used += (size_t)n;
		if (used > MADE_UP_MOST) {
			error = -EFBIG;
			log_error("%s has no end within %d MiB", host, MADE_UP_MOST >> 20);
		}
		if (used == room)
			data = realloc(data, room *= 2);
		CHECK(data != NULL);
	}
	close(entry->fd);
	entry->fd = -1;
	entry->data = entry->owned = data;
	entry->size = used;
	return error;
}

/* The very same file, under the same name. */
static bool has(const struct archive *archive, const char *guest, const struct stat *status)
{
	for (size_t i = 0; i < archive->count; i++) {
		const struct entry *entry = &archive->entry[i];
		struct stat other;

		if (strcmp(entry->name, guest + strspn(guest, "/")) == 0)
			return entry->fd >= 0 && fstat(entry->fd, &other) == 0 &&
			       other.st_dev == status->st_dev && other.st_ino == status->st_ino;
	}
	return false;
}

int archive_add_file(struct archive *archive, const char *host, const char *guest)
{
	struct entry entry = { .fd = open(host, O_RDONLY | O_CLOEXEC | O_NONBLOCK) };
	struct stat status;
	int error = 0;

	if (entry.fd < 0 || fstat(entry.fd, &status) != 0) {
		error = -errno;
		log_error("%s: %m", host);
	} else if (!S_ISREG(status.st_mode)) {
		error = S_ISDIR(status.st_mode) ? -EISDIR : -EINVAL;
		log_error("%s is %s", host,
			  S_ISDIR(status.st_mode) ? "a directory: name its files one by one"
						  : "not a regular file");
	} else if (status.st_size > UINT32_MAX) {
		error = -EFBIG;
		log_error("%s is larger than 4 GiB, the most an archive entry can be", host);
	} else if (has(archive, guest, &status)) {
		close(entry.fd);
		return 0;
	} else {
		entry.size = (uint64_t)status.st_size;
		entry.mode = MODE_REGULAR | (status.st_mode & 0777u);
		entry.mtime = (uint32_t)status.st_mtime;
		if (status.st_size == 0 ||
		    (status.st_blocks == 0 && status.st_size <= (off_t)PAGE_SIZE))
			error = read_now(host, &entry);
		if (error == 0)
			error = add(archive, &entry, guest);
	}
	if (error != 0 && entry.fd >= 0)
		close(entry.fd);
	if (error != 0)
		free(entry.owned);
	return error;
}

int archive_add_memory(struct archive *archive, const void *data, size_t size, const char *guest)
{
	struct entry entry = { .fd = -1, .data = data, .size = size, .mode = MODE_REGULAR | 0755u };

	return add(archive, &entry, guest);
}

static uint64_t page_up(uint64_t n)
{
	return (n + PAGE_SIZE - 1) & PAGE_MASK;
}

/* Every entry starts at a page boundary: a page or two of header and name, then the data. */
static uint64_t header_size(const char *name)
{
	return page_up(HEADER_SIZE + strlen(name) + 1);
}

uint64_t archive_size(const struct archive *archive)
{
	uint64_t size = header_size(TRAILER);

	for (size_t i = 0; i < archive->count; i++)
		size += header_size(archive->entry[i].name) + page_up(archive->entry[i].size);
	return size;
}

struct writer {
	archive_take_fn *take;
	void *context;
	uint64_t offset;
	uint8_t *buffer; /* COPY_SIZE bytes */
};

static int put(struct writer *writer, const void *data, size_t length)
{
	int error = writer->take(writer->context, writer->offset, data, length);

	writer->offset += length;
	return error;
}

static int put_header(struct writer *writer, const char *name, const struct entry *entry,
		      uint32_t inode)
{
	size_t size = header_size(name);
	char *out = (char *)writer->buffer;

	CHECK(size <= COPY_SIZE);
	memset(out, 0, size);
	/* magic, ino, mode, uid, gid, nlink, mtime, filesize, dev x2, rdev x2, namesize, check */
	snprintf(out, HEADER_SIZE + 1, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x",
		 inode, entry->mode, 0u, 0u, 1u, entry->mtime, (uint32_t)entry->size, 0u, 0u, 0u,
		 0u, (uint32_t)(size - HEADER_SIZE), 0u);
	strcpy(out + HEADER_SIZE, name);
	return put(writer, out, size);
}

static int put_file(struct writer *writer, const struct entry *entry)
{
	uint64_t done = 0;

	while (done < entry->size) {
		size_t piece = entry->size - done < COPY_SIZE ? entry->size - done : COPY_SIZE;
		ssize_t n = pread(entry->fd, writer->buffer, piece, (off_t)done);
		int error;

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			error = n < 0 ? -errno : -EIO;
			log_error("%s: %s", entry->name,
				  n < 0 ? strerror(-error) : "became shorter while it was read");
			return error;
		}
		error = put(writer, writer->buffer, (size_t)n);
		if (error != 0)
			return error;
		done += (uint64_t)n;
	}
	return 0;
}

int archive_write(struct archive *archive, archive_take_fn *take, void *context)
{
	static const struct entry trailer = { .fd = -1 };
	struct writer writer = { take, context, 0, malloc(COPY_SIZE) };
	int error = writer.buffer != NULL ? 0 : -ENOMEM;

	for (size_t i = 0; error == 0 && i < archive->count; i++) {
		const struct entry *entry = &archive->entry[i];

		error = put_header(&writer, entry->name, entry, (uint32_t)i + 1);
		if (error == 0 && entry->fd >= 0)
			error = put_file(&writer, entry);
		else if (error == 0)
			error = put(&writer, entry->data, entry->size);
		/* The rest of the last page is left untouched: guest memory starts as zeros. */
		writer.offset = page_up(writer.offset);
	}
	if (error == 0)
		error = put_header(&writer, TRAILER, &trailer, 0);
	free(writer.buffer);
	return error;
}
