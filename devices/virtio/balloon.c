/*
 * The pages of a buffer are gathered as bits of a scratch map, one a frame: that finds a page that
 * is there twice, and reading the map in order gives the longest runs, sorted, whatever the order
 * they came in. The map is clear between buffers. A second map says which pages are in the balloon.
 *
 * The queues: 0 and 1 are for inflating and deflating; 2 is for statistics if those were accepted;
 * any other serves free page reports. (Section 5.5.2 gives that queue number 4. Linux's drivers
 * count only the queues that they use, and have it as 2 or 3. No other device's queue could be
 * meant, so both are right here.)
 */
#include "devices/virtio/balloon.h"

#include <errno.h>
#include <linux/virtio_ids.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "devices/virtio/virtio.h"
#include "ept/access.h"

enum { QUEUE_INFLATE, QUEUE_DEFLATE, QUEUE_STATISTICS, QUEUE_COUNT = 5 };

#define F_STATISTICS	 (1ull << 1)
#define F_DEFLATE_ON_OOM (1ull << 2)
#define F_PAGE_POISON	 (1ull << 4)
#define F_REPORTING	 (1ull << 5)
#define WORD_BITS	 64
#define COPY_PFNS	 1024 /* read from the guest at once */
#define ROUND_PAGES	 4096 /* before other devices, and register accesses, have their turn */
#define STATISTICS_TAKEN 64   /* entries of a buffer that are looked at */

/* The device's configuration space (section 5.5.4). */
struct space {
	uint32_t target;
	uint32_t actual;
	uint32_t hint_command; /* unused: free page hints are not offered */
	uint32_t poison;
};

struct statistic {
	uint16_t tag;
	uint64_t value;
} __attribute__((packed));

/* (C) constant after creation; (L) virtio's lock */
struct virtio_balloon {
	struct virtio virtio;
	struct space space;			    /* (L) */
	const struct virtio_balloon_events *events; /* (C) */
	void *context;				    /* (C) */
	uint32_t frame_count;			    /* (C) */
	uint64_t *held;		    /* written under (L), read by anybody: pages in the balloon */
	uint64_t *scratch;	    /* (L) pages of the buffer at hand */
	bool has_statistics_buffer; /* (L) the driver's, to be given back to ask for new ones */
	uint16_t statistics_head;
	struct virtio_balloon_state state; /* (L) what is counted, and the statistics */
};

/* The work on each run of pages. */
typedef int run_handler(struct virtio_balloon *balloon, gfn_t first, uint32_t count);

static int inflate_run(struct virtio_balloon *balloon, gfn_t first, uint32_t count)
{
	return balloon->events->inflate(balloon->context, first, count);
}

static int deflate_run(struct virtio_balloon *balloon, gfn_t first, uint32_t count)
{
	return balloon->events->deflate(balloon->context, first, count);
}

/* Runs that are growing while a map is read; adjacent ones are joined. */
struct runs {
	run_handler *handle;
	uint64_t first, count;
	int error;
};

static void end_run(struct virtio_balloon *balloon, struct runs *runs)
{
	if (runs->count > 0 && runs->error == 0)
		runs->error = runs->handle(balloon, gfn(runs->first), (uint32_t)runs->count);
	runs->count = 0;
}

static void add_run(struct virtio_balloon *balloon, struct runs *runs, uint64_t first,
		    uint64_t count)
{
	if (runs->count > 0 && runs->first + runs->count == first) {
		runs->count += count;
		return;
	}
	end_run(balloon, runs);
	runs->first = first;
	runs->count = count;
}

/* The pages of one word of a map, of which index is the number. */
static void add_word(struct virtio_balloon *balloon, struct runs *runs, uint64_t index,
		     uint64_t word)
{
	while (word != 0) {
		unsigned from = (unsigned)__builtin_ctzll(word);
		uint64_t rest = ~(word >> from);
		unsigned count = rest != 0 ? (unsigned)__builtin_ctzll(rest) : WORD_BITS;

		add_run(balloon, runs, index * WORD_BITS + from, count);
		word &= count < WORD_BITS ? ~(((1ull << count) - 1) << from) : 0;
	}
}

/* Words of the scratch map that may have bits: [first, end). */
struct words {
	uint64_t first, end;
};

/* Marks one page. False: it must not be there, and the device is broken. */
static bool mark(struct virtio_balloon *balloon, uint32_t frame, struct words *words)
{
	uint64_t index = frame / WORD_BITS, bit = 1ull << frame % WORD_BITS;

	if (!ept_space_has(balloon->virtio.space, gfn(frame), 1)) {
		virtio_break(&balloon->virtio, "page %#x, not in its memory", frame);
		return false;
	}
	if (balloon->scratch[index] & bit) {
		virtio_break(&balloon->virtio, "page %#x twice in one buffer", frame);
		return false;
	}
	balloon->scratch[index] |= bit;
	if (index < words->first)
		words->first = index;
	if (index >= words->end)
		words->end = index + 1;
	return true;
}

/* Marks the pages whose numbers are in the buffer. */
static bool mark_all(struct virtio_balloon *balloon, const struct virtio_chain *chain,
		     struct words *words)
{
	uint32_t frames[COPY_PFNS];
	uint64_t at = 0;

	if (chain->readable_bytes % sizeof(frames[0]) != 0 || chain->writable_bytes > 0) {
		virtio_break(&balloon->virtio, "a buffer that is no list of pages");
		return false;
	}
	while (at < chain->readable_bytes) {
		uint64_t left = chain->readable_bytes - at;
		size_t wanted = left < sizeof(frames) ? left : sizeof(frames);

		if (virtio_read(&balloon->virtio, chain, at, frames, wanted) != wanted)
			return false;
		for (size_t i = 0; i < wanted / sizeof(frames[0]); i++)
			if (!mark(balloon, frames[i], words))
				return false;
		at += wanted;
	}
	return true;
}

/* Moves the marked pages into the balloon, or out of it; those that need no moving are counted. */
static int move_marked(struct virtio_balloon *balloon, struct words words, bool inflate)
{
	struct runs runs = { .handle = inflate ? inflate_run : deflate_run };
	uint32_t moved_count = 0, idle_count = 0;

	for (uint64_t i = words.first; i < words.end; i++) {
		uint64_t marked = balloon->scratch[i];
		uint64_t moved = marked & (inflate ? ~balloon->held[i] : balloon->held[i]);

		__atomic_store_n(&balloon->held[i], balloon->held[i] ^ moved, __ATOMIC_RELAXED);
		moved_count += (uint32_t)__builtin_popcountll(moved);
		idle_count += (uint32_t)__builtin_popcountll(marked & ~moved);
		add_word(balloon, &runs, i, moved);
	}
	end_run(balloon, &runs);
	if (inflate) {
		balloon->state.held += moved_count;
		balloon->state.inflated += moved_count;
		balloon->state.inflated_twice += idle_count;
	} else {
		balloon->state.held -= moved_count;
		balloon->state.deflated += moved_count;
		balloon->state.deflated_absent += idle_count;
	}
	return runs.error;
}

static void serve_pages(struct virtio_balloon *balloon, const struct virtio_chain *chain,
			bool inflate)
{
	struct words words = { UINT64_MAX, 0 };
	int error = 0;

	if (mark_all(balloon, chain, &words))
		error = move_marked(balloon, words, inflate);
	if (words.end > 0)
		memset(balloon->scratch + words.first, 0,
		       (words.end - words.first) * sizeof(balloon->scratch[0]));
	if (error != 0)
		virtio_break(&balloon->virtio, "its pages cannot be %s: %s",
			     inflate ? "given back" : "taken again", strerror(-error));
}

static int report_run(struct virtio_balloon *balloon, gfn_t first, uint32_t count)
{
	uint32_t poison = virtio_has(&balloon->virtio, F_PAGE_POISON) ? balloon->space.poison : 0;

	balloon->state.reported += count;
	return balloon->events->report(balloon->context, first, count, poison);
}

/* The buffer's segments are the free pages themselves. */
static void serve_report(struct virtio_balloon *balloon, const struct virtio_chain *chain)
{
	struct runs runs = { .handle = report_run };

	for (unsigned i = 0; i < chain->count; i++) {
		gpa_t at = chain->segment[i].address;
		uint32_t length = chain->segment[i].length;

		if (i < chain->readable || (at.v | length) % PAGE_SIZE != 0) {
			virtio_break(&balloon->virtio,
				     "a report of %u bytes at %#llx, not of pages", length,
				     (unsigned long long)at.v);
			return;
		}
		add_run(balloon, &runs, gpa_to_gfn(at).v, length >> PAGE_SHIFT);
	}
	end_run(balloon, &runs);
	if (runs.error != 0)
		virtio_break(&balloon->virtio, "its free pages cannot be taken: %s",
			     strerror(-runs.error));
}

/* Pages, deflation included, or bytes of reports: serves until the ring is empty or the round over.
 */
static void serve_queue(struct virtio_balloon *balloon, unsigned queue)
{
	struct virtio_chain chain;
	uint64_t pages = 0;

	while (pages < ROUND_PAGES && virtio_pop(&balloon->virtio, queue, &chain)) {
		if (queue == QUEUE_INFLATE || queue == QUEUE_DEFLATE)
			serve_pages(balloon, &chain, queue == QUEUE_INFLATE);
		else
			serve_report(balloon, &chain);
		virtio_push(&balloon->virtio, queue, chain.head, 0);
		pages += 1 + chain.readable_bytes / sizeof(uint32_t) +
			 (chain.writable_bytes >> PAGE_SHIFT);
	}
	virtio_signal(&balloon->virtio, queue);
	if (pages >= ROUND_PAGES)
		virtio_kick(&balloon->virtio, queue);
}

/* New statistics; the buffer is kept until somebody asks for others. */
static void serve_statistics(struct virtio_balloon *balloon)
{
	struct virtio_balloon_state *state = &balloon->state;
	struct statistic taken[STATISTICS_TAKEN];
	struct virtio_chain chain;
	size_t n;

	if (balloon->has_statistics_buffer ||
	    !virtio_pop(&balloon->virtio, QUEUE_STATISTICS, &chain))
		return;
	n = virtio_read(&balloon->virtio, &chain, 0, taken, sizeof(taken)) / sizeof(taken[0]);
	if (!virtio_is_live(&balloon->virtio))
		return;
	balloon->has_statistics_buffer = true;
	balloon->statistics_head = chain.head;
	state->known = 0;
	for (size_t i = 0; i < n; i++) {
		if (taken[i].tag >= VIRTIO_BALLOON_STATISTICS)
			continue;
		state->known |= 1u << taken[i].tag;
		state->statistic[taken[i].tag] = taken[i].value;
	}
	state->statistics_ns = clock_now_ns();
	if (balloon->events->statistics != NULL)
		balloon->events->statistics(balloon->context);
}

static void tell_of_change(void *device)
{
	struct virtio_balloon *balloon = device;

	if (balloon->events->changed != NULL)
		balloon->events->changed(balloon->context);
}

static void notify(void *device, unsigned queue)
{
	struct virtio_balloon *balloon = device;

	if (queue < QUEUE_STATISTICS)
		serve_queue(balloon, queue);
	else if (queue == QUEUE_STATISTICS && virtio_has(&balloon->virtio, F_STATISTICS))
		serve_statistics(balloon);
	else if (virtio_has(&balloon->virtio, F_REPORTING))
		serve_queue(balloon, queue);
}

static void stop(void *device, unsigned queue)
{
	struct virtio_balloon *balloon = device;

	if (queue == QUEUE_STATISTICS)
		balloon->has_statistics_buffer = false;
}

/* Nobody knows any more which pages are in the balloon: none are. */
static void reset(void *device)
{
	struct virtio_balloon *balloon = device;
	struct runs runs = { .handle = deflate_run };

	for (uint64_t i = 0; i * WORD_BITS < balloon->frame_count; i++) {
		uint64_t held = balloon->held[i];

		__atomic_store_n(&balloon->held[i], 0, __ATOMIC_RELAXED);
		add_word(balloon, &runs, i, held);
	}
	end_run(balloon, &runs);
	balloon->state.deflated += balloon->state.held;
	balloon->state.held = 0;
	balloon->state.actual = balloon->space.actual = 0;
	balloon->space.poison = 0;
	balloon->has_statistics_buffer = false;
	balloon->state.known = 0;
	balloon->state.statistics_ns = 0;
	tell_of_change(balloon);
}

static void configured(void *device, unsigned offset, unsigned size)
{
	struct virtio_balloon *balloon = device;

	balloon->space.target = balloon->state.target;
	balloon->space.hint_command = 0;
	if (balloon->state.actual != balloon->space.actual) {
		balloon->state.actual = balloon->space.actual;
		tell_of_change(balloon);
	}
}

static const struct virtio_ops ops = {
	.name = "balloon",
	.id = VIRTIO_ID_BALLOON,
	.queue_count = QUEUE_COUNT,
	.notify = notify,
	.start = tell_of_change,
	.stop = stop,
	.reset = reset,
	.configured = configured,
};

void virtio_balloon_set_target(struct virtio_balloon *balloon, uint32_t pages)
{
	virtio_glance(&balloon->virtio);
	if (balloon->state.target != pages) {
		balloon->state.target = balloon->space.target = pages;
		virtio_config_changed(&balloon->virtio);
	}
	virtio_unlock(&balloon->virtio);
}

void virtio_balloon_get(struct virtio_balloon *balloon, struct virtio_balloon_state *state)
{
	struct virtio *virtio = &balloon->virtio;

	virtio_glance(virtio);
	*state = balloon->state;
	state->ready = virtio_is_live(virtio);
	state->can_report = virtio_has(virtio, F_REPORTING);
	state->has_statistics = virtio_has(virtio, F_STATISTICS);
	state->deflates_on_oom = virtio_has(virtio, F_DEFLATE_ON_OOM);
	state->poison = virtio_has(virtio, F_PAGE_POISON) ? balloon->space.poison : 0;
	virtio_unlock(virtio);
}

bool virtio_balloon_has(const struct virtio_balloon *balloon, gfn_t frame)
{
	return frame.v < balloon->frame_count &&
	       (__atomic_load_n(&balloon->held[frame.v / WORD_BITS], __ATOMIC_RELAXED) >>
			frame.v % WORD_BITS &
		1) != 0;
}

int virtio_balloon_ask_statistics(struct virtio_balloon *balloon)
{
	int error = -EAGAIN;

	virtio_glance(&balloon->virtio);
	if (virtio_is_live(&balloon->virtio) && balloon->has_statistics_buffer) {
		balloon->has_statistics_buffer = false;
		virtio_push(&balloon->virtio, QUEUE_STATISTICS, balloon->statistics_head, 0);
		virtio_signal(&balloon->virtio, QUEUE_STATISTICS);
		/* A driver that has posted several buffers has answered already. */
		virtio_kick(&balloon->virtio, QUEUE_STATISTICS);
		error = 0;
	}
	virtio_unlock(&balloon->virtio);
	return error;
}

static void free_balloon(struct virtio_balloon *balloon)
{
	free(balloon->held);
	free(balloon->scratch);
	free(balloon);
}

int virtio_balloon_create(const struct virtio_balloon_config *config, struct virtio_balloon **out)
{
	struct virtio_balloon *balloon = calloc(1, sizeof(*balloon));
	struct virtio_config base = {
		.ops = &ops,
		.device = balloon,
		.space = config->space,
		.loop = config->loop,
		.features = F_STATISTICS | F_DEFLATE_ON_OOM | F_PAGE_POISON |
			    (config->reporting ? F_REPORTING : 0),
	};
	size_t words;
	int error;

	if (balloon == NULL)
		return -ENOMEM;
	balloon->events = config->events;
	balloon->context = config->context;
	balloon->frame_count = ept_space_frame_count(config->space);
	words = (balloon->frame_count + WORD_BITS - 1) / WORD_BITS;
	balloon->held = calloc(words, sizeof(uint64_t));
	balloon->scratch = calloc(words, sizeof(uint64_t));
	base.config = &balloon->space;
	base.config_size = sizeof(balloon->space);
	error = balloon->held != NULL && balloon->scratch != NULL
			? virtio_init(&balloon->virtio, &base)
			: -ENOMEM;
	if (error != 0) {
		free_balloon(balloon);
		return error;
	}
	*out = balloon;
	return 0;
}

void virtio_balloon_destroy(struct virtio_balloon *balloon)
{
	if (balloon == NULL)
		return;
	virtio_finish(&balloon->virtio);
	free_balloon(balloon);
}

struct virtio *virtio_balloon_virtio(struct virtio_balloon *balloon)
{
	return &balloon->virtio;
}
