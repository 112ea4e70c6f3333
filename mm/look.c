/*
 * A frame seen from outside. The content is copied under the lock from wherever it lies, and what
 * takes long (decompressing, reading the swap file) is done on the copy, without it.
 *
 * A swap slot is not ours: while it is read its frame may be brought in, and the slot freed and
 * written again. So the frame is looked at again afterwards. The same state, slot and eviction
 * stamp mean the same object all along, and only then does a wrong hash mean damage.
 */
#include <errno.h>
#include <string.h>

#include "base/check.h"
#include "mm/look.h"
#include "mm/mm_internal.h"

#define LOOKS_MAX	1000 /* how often a page may move away under our eyes */
#define COUNT_AT_A_TIME 4096

/* FILLING, RELEASING: the state that says where the content is. */
static enum frame_state content_state(const struct mm_frame *f)
{
	return f->state == FRAME_FILLING || f->state == FRAME_RELEASING ? f->then : f->state;
}

static enum mm_look_state look_state(enum frame_state state)
{
	static const enum mm_look_state states[FRAME_STATES] = {
		[FRAME_UNTOUCHED] = MM_LOOK_UNTOUCHED, [FRAME_MAPPED] = MM_LOOK_MAPPED,
		[FRAME_WATCHED] = MM_LOOK_WATCHED,     [FRAME_EVICTING] = MM_LOOK_EVICTING,
		[FRAME_RELEASING] = MM_LOOK_RELEASING, [FRAME_FILLING] = MM_LOOK_FILLING,
		[FRAME_SAME] = MM_LOOK_SAME_FILLED,    [FRAME_POOL] = MM_LOOK_COMPRESSED,
		[FRAME_SWAP] = MM_LOOK_SWAPPED,	       [FRAME_RELEASED] = MM_LOOK_RELEASED,
	};

	return states[state];
}

/* No more than a word is kept of it. */
static bool is_word(enum mm_look_state content)
{
	return content == MM_LOOK_UNTOUCHED || content == MM_LOOK_SAME_FILLED ||
	       content == MM_LOOK_RELEASED;
}

static void describe(const struct mm *mm, const struct mm_frame *f, struct mm_look *look)
{
	enum frame_state content = content_state(f);

	*look = (struct mm_look){
		.state = look_state(f->state),
		.content = look_state(content),
		.slot = MM_LOOK_NO_SLOT,
		.pins = f->pins,
		.in_balloon = (f->flags & FRAME_BALLOON) != 0,
	};
	if (content == FRAME_SAME || content == FRAME_RELEASED)
		look->word = f->word;
	else if (content == FRAME_POOL)
		look->codec = codec_name(mm->compressor);
	else if (content != FRAME_UNTOUCHED)
		look->slot = f->where; /* FRAME_NOWHERE is NO_SLOT */
}

/* The lock is held, and dropped; the object is a copy by then. */
static int look_in_pool(struct mm *mm, uint32_t number, struct mm_look *look, void *page)
{
	struct pool_object object;
	char data[POOL_OBJECT_MAX];

	pool_load(mm->pool, mm_frame(mm, number)->where, &object, data);
	pthread_mutex_unlock(&mm->lock);
	look->length = object.length;
	if (page == NULL)
		return 0;
	if (object.owner != number || hash_object(&mm->key, data, object.length) != object.checksum)
		return -EBADMSG;
	return codec_decompress_once(mm->compressor, data, object.length, page);
}

/* The lock is held, and dropped. -EAGAIN: the page went elsewhere meanwhile. */
static int look_in_swap(struct mm *mm, uint32_t number, void *page)
{
	struct mm_frame before = *mm_frame(mm, number), now;
	bool intact, moved;
	int error;

	pthread_mutex_unlock(&mm->lock);
	error = swap_read_unverified(mm->swap, before.where, page);
	pthread_mutex_lock(&mm->lock);
	now = *mm_frame(mm, number);
	moved = content_state(&now) != FRAME_SWAP || now.where != before.where ||
		now.word != before.word;
	intact = error == 0 && !moved &&
		 swap_hash_equal(mm->swap, now.where, hash_page(&mm->key, page));
	pthread_mutex_unlock(&mm->lock);
	if (moved)
		return -EAGAIN;
	if (error != 0)
		return error;
	return intact ? 0 : -EBADMSG;
}

/* One attempt. The lock is held, and dropped. */
static int look_once(struct mm *mm, uint32_t number, struct mm_look *look, void *page)
{
	struct mm_frame *f = mm_frame(mm, number);
	int error = 0;

	describe(mm, f, look);
	if (look->content == MM_LOOK_COMPRESSED)
		return look_in_pool(mm, number, look, page);
	if (look->content == MM_LOOK_SWAPPED && page != NULL)
		return look_in_swap(mm, number, page);
	/* The lock keeps a resident page where it is; a copy of it takes a microsecond. */
	if (page != NULL && !is_word(look->content))
		error = mm->ops->read(mm->backing, gfn(number), page);
	pthread_mutex_unlock(&mm->lock);
	if (page != NULL && is_word(look->content))
		codec_fill_word(page, look->word);
	return error;
}

int mm_look(struct mm *mm, gfn_t frame, struct mm_look *look, void *page)
{
	int error = -EAGAIN;

	if (!mm_has(mm, frame.v, 1))
		return -ERANGE;
	CHECK((uintptr_t)page % PAGE_SIZE == 0);
	for (unsigned i = 0; i < LOOKS_MAX && error == -EAGAIN; i++) {
		pthread_mutex_lock(&mm->lock);
		error = look_once(mm, (uint32_t)frame.v, look, page);
	}
	return error;
}

int mm_look_count(struct mm *mm, gfn_t first, uint64_t count,
		  uint64_t counts[static MM_LOOK_STATES])
{
	uint64_t at = first.v;

	if (!mm_has(mm, first.v, count))
		return -ERANGE;
	/* In pieces: a fault must not wait for a count of all of memory. */
	for (uint64_t end = at + count; at < end;) {
		uint64_t stop = end - at < COUNT_AT_A_TIME ? end : at + COUNT_AT_A_TIME;

		pthread_mutex_lock(&mm->lock);
		for (; at < stop; at++)
			counts[look_state(mm->frames[at].state)]++;
		pthread_mutex_unlock(&mm->lock);
	}
	return 0;
}

const char *mm_look_state_name(enum mm_look_state state)
{
	static const char *const names[MM_LOOK_STATES] = {
		[MM_LOOK_UNTOUCHED] = "untouched",     [MM_LOOK_MAPPED] = "mapped",
		[MM_LOOK_WATCHED] = "watched",	       [MM_LOOK_EVICTING] = "evicting",
		[MM_LOOK_RELEASING] = "releasing",     [MM_LOOK_FILLING] = "filling",
		[MM_LOOK_SAME_FILLED] = "same_filled", [MM_LOOK_COMPRESSED] = "compressed",
		[MM_LOOK_SWAPPED] = "swapped",	       [MM_LOOK_RELEASED] = "released",
	};

	return names[state];
}
