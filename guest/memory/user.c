/* Access to the current process's memory. */
#include "guest/memory/user.h"
#include "guest/cpu/cpu.h"
#include "guest/lib/asm.h"
#include "guest/lib/count.h"
#include "guest/lib/errno.h"
#include "guest/lib/string.h"
#include "guest/memory/fault.h"
#include "guest/memory/swap.h"

/* entry.S */
int64_t user_copy_raw(void *to, const void *from, size_t length);
int64_t user_clear_raw(void *to, size_t length);

struct fixup {
	uint64_t at, go_on;
};

extern const struct fixup fixup_table[], fixup_table_end[];

bool user_fixup(uint64_t *rip)
{
	for (const struct fixup *fixup = fixup_table; fixup < fixup_table_end; fixup++) {
		if (fixup->at == *rip) {
			*rip = fixup->go_on;
			return true;
		}
	}
	return false;
}

/* With SMAP the processor lets ring 0 reach a program's pages only in here. */
static inline void open_user(void)
{
	if (cpu_features.smap)
		stac();
}

static inline void close_user(void)
{
	if (cpu_features.smap)
		clac();
}

static int64_t copy(void *to, const void *from, size_t length)
{
	int64_t left;

	open_user();
	left = user_copy_raw(to, from, length);
	close_user();
	return left;
}

int user_read(void *to, uint64_t from, size_t length)
{
	if (!user_range(from, length) || copy(to, (const void *)from, length))
		return -EFAULT;
	return 0;
}

int user_write(uint64_t to, const void *from, size_t length)
{
	if (!user_range(to, length) || copy((void *)to, from, length))
		return -EFAULT;
	return 0;
}

int user_clear(uint64_t to, size_t length)
{
	int64_t left;

	if (!user_range(to, length))
		return -EFAULT;
	open_user();
	left = user_clear_raw((void *)to, length);
	close_user();
	return left ? -EFAULT : 0;
}

/* Whether one of the eight bytes is zero: only such a one is below 1 without its high bit set. */
static bool zero_byte(const char *eight)
{
	const uint64_t ones = ~0ull / 255;
	uint64_t word;

	__builtin_memcpy(&word, eight, 8);
	return (word - ones) & ~word & ones << 7;
}

int64_t user_read_string(char *to, uint64_t from, size_t size)
{
	size_t length = 0;

	while (length < size) {
		uint64_t physical = fault_translate(current_space(), from + length, false);
		size_t room = PAGE_SIZE - ((from + length) & (PAGE_SIZE - 1));
		const char *text;

		if (!physical)
			return -EFAULT;
		text = (const char *)(DIRECT_BASE + physical);
		room = MIN(room, size - length);
		/* Looks for the zero in the copy, as another CPU may be writing to the source. */
		for (; room >= 8; room -= 8, length += 8, text += 8) {
			__builtin_memcpy(to + length, text, 8);
			if (zero_byte(to + length))
				break;
		}
		for (; room > 0; room--, length++) {
			to[length] = *text++;
			if (!to[length])
				return length;
		}
	}
	return -ENAMETOOLONG;
}

/* Adds `length` bytes at `physical`, to the last segment where they continue it. */
static bool add_segment(struct quire_segment *segment, unsigned *count, unsigned max,
			uint64_t physical, uint64_t length)
{
	struct quire_segment *last = *count > 0 ? &segment[*count - 1] : NULL;

	if (last && last->gpa + last->length == physical) {
		last->length += length;
		return true;
	}
	if (*count == max)
		return false;
	segment[(*count)++] = (struct quire_segment){ physical, length };
	return true;
}

int user_segments(struct vector_cursor *cursor, bool write, uint64_t limit,
		  struct quire_segment *segment, unsigned max)
{
	const struct vector_cursor first = *cursor;
	uint64_t all = limit, moved = vm_count.pgmigrate_success;
	unsigned count = 0;

	while (cursor->count > 0 && limit > 0) {
		uint64_t va = cursor->vector->base + cursor->done;
		uint64_t left = cursor->vector->length - cursor->done;
		uint64_t length = MIN(MIN(left, PAGE_SIZE - (va & (PAGE_SIZE - 1))), limit);
		uint64_t physical;

		if (left == 0) {
			cursor->vector++;
			cursor->count--;
			cursor->done = 0;
			continue;
		}
		physical = user_range(va, length) ? fault_translate(current_space(), va, write) : 0;
		if (unlikely(moved != vm_count.pgmigrate_success)) {
			/* Compaction on this page's way in: the others may lie elsewhere now. */
			moved = vm_count.pgmigrate_success;
			*cursor = first;
			limit = all;
			count = 0;
			continue;
		}
		if (!physical)
			return count > 0 ? (int)count : -EFAULT;
		if (!add_segment(segment, &count, max, physical, length))
			break;
		cursor->done += length;
		limit -= length;
		/* The next page's way in may be this one's way to the swap. */
		if (swap_on)
			break;
	}
	return count;
}
