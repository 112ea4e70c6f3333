/*
 * The balloon. balloon.h describes it.
 *
 * Pieces - blocks of up to PIECE_ORDER - that are in the balloon are on a list, linked through
 * their heads' records, the last one first. A buffer of page numbers on its way has its pieces on a
 * list of its own: those that go in join the balloon when the device has taken them, those that
 * come back are free then.
 */
#include "guest/device/balloon.h"
#include "guest/cpu/clock.h"
#include "guest/device/driver.h"
#include "guest/lib/count.h"
#include "guest/lib/errno.h"
#include "guest/lib/string.h"
#include "guest/memory/page.h"
#include "guest/memory/slab.h"
#include "guest/memory/trim.h"
#include "guest/monitor/doorbell.h"
#include "guest/process/thread.h"

/* Feature bits. Page poison is left alone: our free pages have no pattern. */
enum {
	F_MUST_TELL = 0,
	F_STATISTICS = 1,
	F_DEFLATE_ON_OOM = 2,
	F_FREE_PAGE_HINT = 3,
	F_REPORTING = 5,
};

enum { CONFIG_TARGET = 0, CONFIG_ACTUAL = 4 };
enum { QUEUE_INFLATE = 0, QUEUE_DEFLATE = 1, QUEUE_STATISTICS = 2 };

#define PIECE_ORDER   8
#define BUFFER_PAGES  256 /* page numbers in one */
#define BUFFER_MAX    8	  /* on their way at the same time */
#define RESERVE_SHARE 64  /* of all memory, at least twice PAGE_RESERVE: stays free */

#define NS_PER_S     1000000000ull
#define RETRY_AFTER  (1 * NS_PER_S)  /* where pages could not be spared */
#define REST_AFTER   (10 * NS_PER_S) /* where they were needed back */
#define REPORT_AFTER (2 * NS_PER_S)
#define PATIENCE     (1 * NS_PER_S)
#define OOM_PAGES    1024 /* that come back at a time when memory is out */

enum { TAG_SWAP_IN, TAG_SWAP_OUT, TAG_MAJOR_FAULT, TAG_MINOR_FAULT, TAG_FREE, TAG_TOTAL };
enum { TAG_AVAILABLE = 6, TAG_CACHES = 7, TAG_OOM_KILL = 10, TAG_STALL = 11, TAG_RECLAIM = 15 };

struct statistic {
	uint16_t tag;
	uint64_t value;
} __attribute__((packed));

#define STATISTICS 11 /* that are told */

struct buffer {
	struct buffer *next; /* free */
	uint32_t first;	     /* piece, by its frame; 0: none */
	unsigned count;	     /* pages */
	uint32_t *number;    /* of pages: BUFFER_PAGES */
};

static struct balloon {
	struct virtio_device *device;				      /* NULL: there is none */
	struct virtio_queue *inflate, *deflate, *statistics, *report; /* NULL: not had */
	uint32_t first;						      /* piece in it, or 0 */
	uint64_t going_in, coming_back;				      /* pages on their way */
	uint32_t target, actual; /* pages: as last read from the device, and written to it */
	bool may_trim;		 /* once for each target */
	uint64_t not_before;	 /* ns: until then nothing goes in */
	bool releasing;		 /* balloon_release() is at work */
	struct buffer buffer[BUFFER_MAX], *free;
	struct statistic *statistic; /* STATISTICS of them */
	bool reporting;		     /* blocks are on their way */
	struct timer retry_timer, report_timer;
} balloon;

uint64_t balloon_pages;
unsigned balloon_report_order = BALLOON_REPORT_ORDER;

static uint64_t reserve(void)
{
	return MAX(page_total / RESERVE_SHARE, 2ull * PAGE_RESERVE);
}

/* --- pieces and buffers --- */

static void push(uint32_t *list, struct page *piece, unsigned order)
{
	piece->order = order;
	piece->next = *list;
	*list = page_frame(piece);
}

static struct page *pop(uint32_t *list)
{
	struct page *piece = page_of_frame(*list);

	*list = piece->next;
	return piece;
}

static void add_piece(struct buffer *buffer, struct page *piece, unsigned order)
{
	for (unsigned i = 0; i < 1u << order; i++)
		buffer->number[buffer->count++] = page_frame(piece) + i;
	push(&buffer->first, piece, order);
}

/* The order of the largest piece that fits the pages left. */
static unsigned order_of(uint64_t pages)
{
	return MIN(PIECE_ORDER, 63 - __builtin_clzll(pages));
}

/* Pages that can be spared, at most so many. */
static void fill_from_memory(struct buffer *buffer, uint64_t pages)
{
	while (buffer->count < pages) {
		unsigned order;
		struct page *piece =
			page_take_spare(order_of(pages - buffer->count), reserve(), &order);

		if (!piece)
			break;
		add_piece(buffer, piece, order);
	}
}

/* Pages of the balloon; a piece of which only a part fits is cut. */
static void fill_from_balloon(struct buffer *buffer, uint64_t pages)
{
	while (buffer->count < pages && balloon.first) {
		struct page *piece = pop(&balloon.first);
		unsigned order = piece->order;

		while ((1ull << order) > pages - buffer->count) {
			order--;
			push(&balloon.first, piece + (1ull << order), order);
		}
		add_piece(buffer, piece, order);
	}
	balloon_pages -= buffer->count;
}

static struct buffer *buffer_take(void)
{
	struct buffer *buffer = balloon.free;

	if (buffer) {
		balloon.free = buffer->next;
		buffer->count = 0;
		buffer->first = 0;
	}
	return buffer;
}

static void buffer_give(struct buffer *buffer)
{
	buffer->next = balloon.free;
	balloon.free = buffer;
}

/* Its pages are in the balloon, or free. */
static void buffer_land(struct buffer *buffer, bool in)
{
	while (buffer->first) {
		struct page *piece = pop(&buffer->first);

		if (in)
			push(&balloon.first, piece, piece->order);
		else
			page_free(piece, piece->order, true);
	}
	if (in) {
		balloon.going_in -= buffer->count;
		balloon_pages += buffer->count;
		vm_count.balloon_inflate += buffer->count;
	} else {
		balloon.coming_back -= buffer->count;
		vm_count.balloon_deflate += buffer->count;
	}
	buffer_give(buffer);
}

static void buffer_send(struct virtio_queue *queue, struct buffer *buffer)
{
	struct quire_segment segment =
		virtio_segment(buffer->number, buffer->count * sizeof(*buffer->number));

	/* Queues are as long as there are buffers: it fails with the device only. */
	virtio_add(queue, &segment, 1, 0, buffer);
	virtio_kick(queue);
}

/* --- towards the target --- */

/* False: nothing could be spared. */
static bool send_in(uint64_t pages)
{
	struct buffer *buffer = buffer_take();

	fill_from_memory(buffer, MIN(pages, BUFFER_PAGES));
	if (buffer->count == 0 && balloon.may_trim && memory_trim() > 0)
		fill_from_memory(buffer, MIN(pages, BUFFER_PAGES));
	balloon.may_trim = balloon.may_trim && buffer->count > 0;
	if (buffer->count == 0) {
		buffer_give(buffer);
		balloon.not_before = clock_now() + RETRY_AFTER;
		return false;
	}
	balloon.going_in += buffer->count;
	buffer_send(balloon.inflate, buffer);
	return true;
}

static void send_back(uint64_t pages)
{
	struct buffer *buffer = buffer_take();

	fill_from_balloon(buffer, MIN(pages, BUFFER_PAGES));
	balloon.coming_back += buffer->count;
	buffer_send(balloon.deflate, buffer);
}

/* As many buffers as there are go on their way. */
static void follow_target(void)
{
	uint64_t there;

	while ((there = balloon_pages + balloon.going_in) != balloon.target && balloon.free) {
		if (there > balloon.target) {
			if (balloon_pages == 0)
				return;
			send_back(there - balloon.target);
		} else if (clock_now() < balloon.not_before || !send_in(balloon.target - there)) {
			timer_set(&balloon.retry_timer, balloon.not_before);
			return;
		}
	}
}

static void read_target(void)
{
	uint32_t target = virtio_config_32(balloon.device, CONFIG_TARGET);

	if (target == balloon.target)
		return;
	balloon.target = target;
	balloon.may_trim = true;
	balloon.not_before = 0;
}

static void tell_actual(void)
{
	uint32_t actual = balloon_pages + balloon.coming_back;

	if (actual == balloon.actual)
		return;
	balloon.actual = actual;
	virtio_config_set_32(balloon.device, CONFIG_ACTUAL, actual);
}

static void retry(struct timer *timer)
{
	follow_target();
}

/* --- reporting --- */

static void report_some(void)
{
	struct quire_segment segment[PAGE_REPORT_MAX];
	unsigned count = 0, most = MIN(PAGE_REPORT_MAX, balloon.report->size);
	uint64_t frame, pages;

	while (count < most && page_report_take(reserve(), &frame, &pages))
		segment[count++] =
			(struct quire_segment){ frame << PAGE_SHIFT, pages << PAGE_SHIFT };
	if (count == 0)
		return;
	balloon.reporting = true;
	virtio_add(balloon.report, segment, 0, count, balloon.report);
	virtio_kick(balloon.report);
}

static void report_expired(struct timer *timer)
{
	if (!balloon.reporting)
		report_some();
}

static void report_wanted(void)
{
	if (!balloon.report_timer.set && !balloon.reporting)
		timer_set(&balloon.report_timer, clock_now() + REPORT_AFTER);
}

/* --- statistics --- */

static void send_statistics(void)
{
	const struct statistic now[STATISTICS] = {
		{ TAG_SWAP_IN, vm_count.pswpin << PAGE_SHIFT },
		{ TAG_SWAP_OUT, vm_count.pswpout << PAGE_SHIFT },
		{ TAG_MAJOR_FAULT, vm_count.pgmajfault },
		{ TAG_MINOR_FAULT, vm_count.pgfault - vm_count.pgmajfault },
		{ TAG_FREE, page_free_count() << PAGE_SHIFT },
		{ TAG_TOTAL, page_total << PAGE_SHIFT },
		{ TAG_AVAILABLE, page_free_count() << PAGE_SHIFT },
		{ TAG_CACHES, 0 }, /* files are nowhere else */
		{ TAG_OOM_KILL, vm_count.oom_kill },
		{ TAG_STALL, vm_count.pgscan },
		{ TAG_RECLAIM, vm_count.pgsteal << PAGE_SHIFT },
	};
	struct quire_segment segment = virtio_segment(balloon.statistic, sizeof(now));

	memcpy(balloon.statistic, now, sizeof(now));
	virtio_add(balloon.statistics, &segment, 1, 0, balloon.statistics);
	virtio_kick(balloon.statistics);
}

/* --- memory is out --- */

uint64_t balloon_release(uint64_t pages)
{
	uint64_t before = page_free_total, deadline, wanted = OOM_PAGES;

	if (!balloon.device || balloon.releasing)
		return 0;
	balloon.releasing = true;
	deadline = clock_now() + PATIENCE;
	for (;;) {
		while (virtio_has(balloon.device, F_DEFLATE_ON_OOM) && balloon_pages > 0 &&
		       wanted > 0 && balloon.free) {
			uint64_t part = MIN(MIN(wanted, BUFFER_PAGES), balloon_pages);

			send_back(part);
			wanted -= part;
			balloon.not_before = clock_now() + REST_AFTER;
		}
		if (!(balloon.going_in || balloon.coming_back || balloon.reporting))
			break;
		doorbell_yield();
		virtio_poll(balloon.device);
		if (!balloon.device || page_free_total >= before + pages || clock_now() > deadline)
			break;
	}
	balloon.releasing = false;
	return page_free_total - before;
}

/* --- the driver --- */

static void land(struct virtio_queue *queue, bool in)
{
	struct buffer *buffer;
	uint32_t length;

	while ((buffer = virtio_take(queue, &length)))
		buffer_land(buffer, in);
}

static void balloon_interrupt(struct virtio_device *device)
{
	uint32_t length;

	land(balloon.inflate, true);
	land(balloon.deflate, false);
	if (balloon.report && virtio_take(balloon.report, &length)) {
		balloon.reporting = false;
		page_report_done(true);
		if (!balloon.releasing)
			report_some();
	}
	if (balloon.statistics && virtio_take(balloon.statistics, &length))
		send_statistics();
	if (device->failed)
		return;
	tell_actual();
	read_target();
	if (!balloon.releasing)
		follow_target();
}

static void free_pieces(uint32_t *list)
{
	while (*list) {
		struct page *piece = pop(list);

		page_free(piece, piece->order, false);
	}
}

/* All pages are ours again; nobody knows what they hold. */
static void balloon_failed(struct virtio_device *device)
{
	timer_clear(&balloon.retry_timer);
	timer_clear(&balloon.report_timer);
	page_report_from(PAGE_ORDERS, NULL);
	page_report_done(false);
	for (unsigned i = 0; i < BUFFER_MAX; i++)
		free_pieces(&balloon.buffer[i].first);
	free_pieces(&balloon.first);
	balloon_pages = balloon.going_in = balloon.coming_back = 0;
	balloon.device = NULL;
}

static int begin_queue(struct virtio_device *device, unsigned number, struct virtio_queue **queue)
{
	int error = virtio_queue_init(device, number);

	*queue = error ? NULL : &device->queue[number];
	return error;
}

/* Queues that the device does not have take no number. */
static int balloon_begin(struct virtio_device *device)
{
	unsigned report = QUEUE_STATISTICS + (device->offered >> F_STATISTICS & 1) +
			  (device->offered >> F_FREE_PAGE_HINT & 1);
	int error;

	if (balloon.device)
		return -EBUSY;
	balloon.statistic = memory_alloc(STATISTICS * sizeof(*balloon.statistic));
	if (!balloon.statistic)
		return -ENOMEM;
	for (unsigned i = 0; i < BUFFER_MAX; i++) {
		balloon.buffer[i].number = memory_alloc(BUFFER_PAGES * sizeof(uint32_t));
		if (!balloon.buffer[i].number)
			return -ENOMEM;
		buffer_give(&balloon.buffer[i]);
	}
	error = begin_queue(device, QUEUE_INFLATE, &balloon.inflate);
	if (!error)
		error = begin_queue(device, QUEUE_DEFLATE, &balloon.deflate);
	if (!error && virtio_has(device, F_STATISTICS))
		error = begin_queue(device, QUEUE_STATISTICS, &balloon.statistics);
	if (!error && virtio_has(device, F_REPORTING))
		error = begin_queue(device, report, &balloon.report);
	if (!error && MIN(balloon.inflate->size, balloon.deflate->size) < BUFFER_MAX)
		error = -EOPNOTSUPP;
	return error;
}

static void balloon_start(struct virtio_device *device)
{
	balloon.device = device;
	balloon.retry_timer.expired = retry;
	balloon.report_timer.expired = report_expired;
	if (balloon.statistics)
		send_statistics();
	if (balloon.report)
		page_report_from(balloon_report_order, report_wanted);
	read_target();
	follow_target();
}

const struct virtio_driver balloon_driver = {
	.name = "balloon",
	.id = 5,
	.features = 1 << F_MUST_TELL | 1 << F_STATISTICS | 1 << F_DEFLATE_ON_OOM | 1 << F_REPORTING,
	.begin = balloon_begin,
	.start = balloon_start,
	.interrupt = balloon_interrupt,
	.failed = balloon_failed,
};
