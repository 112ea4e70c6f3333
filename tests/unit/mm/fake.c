#include "tests/unit/mm/fake.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "mm/mm_internal.h"
#include "policy/table.h"

#define POISON 0xd5

#define DEMAND(condition, ...)                                                                     \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr, "fake backing: " __VA_ARGS__);                             \
			fputc('\n', stderr);                                                       \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

static unsigned char *page_of(struct fake *fake, uint64_t frame)
{
	return fake->memory + frame * PAGE_SIZE;
}

static void demand_frames(const struct fake *fake, const char *what, gfn_t first, uint32_t count)
{
	uint64_t hole_end = (uint64_t)fake->hole_first + fake->hole_count;

	DEMAND(first.v + count <= fake->frame_count &&
		       (fake->hole_count == 0 || first.v + count <= fake->hole_first ||
			first.v >= hole_end),
	       "%s of frames %llu to %llu, which are not all in the guest", what,
	       (unsigned long long)first.v, (unsigned long long)(first.v + count - 1));
}

/* How many frames go well before the injected error; *error is it. */
static uint32_t injected(struct fake *fake, enum fake_op op, uint32_t count, int *error)
{
	*error = 0;
	fake->calls[op]++;
	fake->frames[op] += count;
	if (fake->inject[op].times == 0 || (fake->inject[op].spare_first && count == 1))
		return count;
	if (fake->inject[op].spare_first && fake->inject[op].after == 0)
		fake->inject[op].after = 1;
	if (fake->inject[op].after >= count) {
		fake->inject[op].after -= count;
		return count;
	}
	count = fake->inject[op].after;
	fake->inject[op].after = 0;
	fake->inject[op].times--;
	*error = fake->inject[op].error;
	return count;
}

/* How many of them it says were done. */
static uint32_t told(const struct fake *fake, enum fake_op op, uint32_t good, int error)
{
	uint32_t untold = error != 0 ? fake->inject[op].untold : 0;

	return good - (untold < good ? untold : good);
}

static int bring(struct fake *fake, gfn_t first, uint32_t count, const unsigned char *source,
		 uint32_t *done, enum fake_op op)
{
	uint32_t good;
	int error;

	pthread_mutex_lock(&fake->lock);
	good = injected(fake, op, count, &error);
	demand_frames(fake, "fill", first, count);
	*done = 0;
	for (uint32_t i = 0; i < good; i++) {
		uint64_t at = first.v + i;

		if (fake->present[at]) {
			DEMAND(fake->expect_failure, "frame %llu filled twice",
			       (unsigned long long)at);
			error = -EEXIST;
			break;
		}
		if (source != NULL)
			memcpy(page_of(fake, at), source + i * PAGE_SIZE, PAGE_SIZE);
		else
			memset(page_of(fake, at), 0, PAGE_SIZE);
		fake->present[at] = fake->mapped[at] = 1;
		fake->sealed[at] = 0;
		++*done;
	}
	pthread_mutex_unlock(&fake->lock);
	return error;
}

static int fake_zero(void *backing, gfn_t first, uint32_t count, uint32_t *done)
{
	return bring(backing, first, count, NULL, done, FAKE_ZERO);
}

static int fake_fill(void *backing, gfn_t first, uint32_t count, const void *source, uint32_t *done)
{
	DEMAND(((uintptr_t)source & ~PAGE_MASK) == 0, "fill from an unaligned source");
	return bring(backing, first, count, source, done, FAKE_FILL);
}

static int fake_map(void *backing, gfn_t first, uint32_t count, uint32_t *done)
{
	struct fake *fake = backing;
	int error;

	demand_frames(fake, "map", first, count);
	pthread_mutex_lock(&fake->lock);
	*done = injected(fake, FAKE_MAP, count, &error);
	fake->map_failed |= error != 0;
	for (uint32_t i = 0; i < *done; i++) {
		DEMAND(fake->present[first.v + i], "map of absent frame %llu",
		       (unsigned long long)first.v + i);
		if (fake->scans)
			fake->sealed[first.v + i] = 0;
		else
			fake->mapped[first.v + i] = 1;
	}
	pthread_mutex_unlock(&fake->lock);
	return error;
}

/* Of both the host does not say how far it came. */
static int withdraw(struct fake *fake, enum fake_op op, const char *what, gfn_t first,
		    uint32_t count, uint32_t *done)
{
	uint32_t good;
	int error;

	demand_frames(fake, what, first, count);
	pthread_mutex_lock(&fake->lock);
	good = injected(fake, op, count, &error);
	*done = told(fake, op, good, error);
	/* Absent frames before it are no harm: a call may go over them. */
	DEMAND(fake->present[first.v + count - 1], "%s of absent frame %llu", what,
	       (unsigned long long)first.v + count - 1);
	for (uint32_t i = 0; i < good; i++)
		if (op == FAKE_SEAL)
			fake->sealed[first.v + i] = fake->present[first.v + i];
		else
			fake->mapped[first.v + i] = 0;
	pthread_mutex_unlock(&fake->lock);
	if (*done > 0 && fake->unmapped != NULL)
		fake->unmapped(fake, first, *done);
	return error;
}

static int fake_unmap(void *backing, gfn_t first, uint32_t count, uint32_t *done)
{
	return withdraw(backing, FAKE_UNMAP, "unmap", first, count, done);
}

static int fake_seal(void *backing, gfn_t first, uint32_t count, uint32_t *done)
{
	struct fake *fake = backing;

	DEMAND(fake->scans, "a seal, though touches are faults");
	return withdraw(fake, FAKE_SEAL, "seal", first, count, done);
}

static int fake_scan(void *backing, gfn_t first, uint32_t count, bool *mapped)
{
	struct fake *fake = backing;
	int error;

	DEMAND(fake->scans, "a scan, though touches are faults");
	demand_frames(fake, "scan", first, count);
	pthread_mutex_lock(&fake->lock);
	injected(fake, FAKE_SCAN, count, &error);
	for (uint32_t i = 0; i < count && error == 0; i++)
		mapped[i] = fake->mapped[first.v + i] != 0;
	pthread_mutex_unlock(&fake->lock);
	return error;
}

/*
 * May its page go? No write of the guest may be on the way to it: but where touches are found by
 * scanning, the guest may reach what it has given up itself.
 */
static bool may_go(const struct fake *fake, uint64_t frame)
{
	if (!fake->scans)
		return !fake->mapped[frame];
	return fake->sealed[frame] || fake->mm->frames[frame].then == FRAME_RELEASED;
}

static int fake_release(void *backing, gfn_t first, uint32_t count, uint32_t *done)
{
	struct fake *fake = backing;
	uint32_t good;
	int error;

	if (fake->releasing != NULL)
		fake->releasing(fake, first, count);
	demand_frames(fake, "release", first, count);
	pthread_mutex_lock(&fake->lock);
	good = injected(fake, FAKE_RELEASE, count, &error);
	*done = told(fake, FAKE_RELEASE, good, error);
	for (uint32_t i = 0; i < good; i++) {
		uint64_t at = first.v + i;

		DEMAND(fake->present[at], "release of absent frame %llu", (unsigned long long)at);
		DEMAND(may_go(fake, at), "release of frame %llu, which the guest may write",
		       (unsigned long long)at);
		fake->present[at] = fake->mapped[at] = 0;
		if (!fake->no_poison)
			memset(page_of(fake, at), POISON, PAGE_SIZE);
	}
	pthread_mutex_unlock(&fake->lock);
	return error;
}

static int fake_wake(void *backing, gfn_t first, uint32_t count)
{
	struct fake *fake = backing;
	int error = 0;

	demand_frames(fake, "wake", first, count);
	pthread_mutex_lock(&fake->lock);
	injected(fake, FAKE_WAKE, count, &error);
	pthread_mutex_unlock(&fake->lock);
	return error;
}

static void *fake_page(void *backing, gfn_t frame)
{
	struct fake *fake = backing;

	pthread_mutex_lock(&fake->lock);
	demand_frames(fake, "page", frame, 1);
	DEMAND(fake->present[frame.v], "page of absent frame %llu", (unsigned long long)frame.v);
	pthread_mutex_unlock(&fake->lock);
	return page_of(fake, frame.v);
}

static int fake_copy_out(void *backing, gfn_t frame, void *destination)
{
	struct fake *fake = backing;
	int error = 0;

	pthread_mutex_lock(&fake->lock);
	injected(fake, FAKE_READ, 1, &error);
	pthread_mutex_unlock(&fake->lock);
	if (error == 0) {
		void *page = fake_page(backing, frame);

		if (fake->paged != NULL)
			fake->paged(fake, frame);
		memcpy(destination, page, PAGE_SIZE);
	}
	return error;
}

const struct mm_backing_ops fake_ops = {
	.zero = fake_zero,
	.fill = fake_fill,
	.map = fake_map,
	.unmap = fake_unmap,
	.seal = fake_seal,
	.scan = fake_scan,
	.release = fake_release,
	.wake = fake_wake,
	.read = fake_copy_out,
	.page = fake_page,
};

void fake_init(struct fake *fake, uint32_t frame_count)
{
	memset(fake, 0, sizeof(*fake));
	fake->frame_count = frame_count;
	fake->memory = mmap(NULL, (size_t)frame_count * PAGE_SIZE, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	fake->present = calloc(frame_count, 1);
	fake->mapped = calloc(frame_count, 1);
	fake->sealed = calloc(frame_count, 1);
	DEMAND(fake->memory != MAP_FAILED && fake->present != NULL && fake->mapped != NULL &&
		       fake->sealed != NULL,
	       "no memory");
	pthread_mutex_init(&fake->lock, NULL);
}

void fake_finish(struct fake *fake)
{
	munmap(fake->memory, (size_t)fake->frame_count * PAGE_SIZE);
	free(fake->present);
	free(fake->mapped);
	free(fake->sealed);
	pthread_mutex_destroy(&fake->lock);
}

static void fake_failed(void *context, const struct mm_failure *failure)
{
	struct fake *fake = context;

	fake->failure_count++;
	fake->failure = *failure;
	DEMAND(fake->expect_failure, "mm failed: %s", failure->text);
}

struct mm_config fake_config(struct fake *fake)
{
	uint32_t hole_end = fake->hole_first + fake->hole_count;

	return (struct mm_config){
		.frame_count = fake->frame_count,
		.range_count = fake->hole_count > 0 ? 2 : 0,
		.ranges = { { 0, fake->hole_first }, { hole_end, fake->frame_count - hole_end } },
		.policy = mm_policy_find("sfifo"),
		.compressor = MM_COMPRESSOR_LZ4,
		.swap_io = &test_swap_io,
		.backing_ops = &fake_ops,
		.backing = fake,
		.watch = fake->scans ? MM_WATCH_SCAN : MM_WATCH_NOTICE,
		.failed = fake_failed,
		.failed_context = fake,
		.no_reclaimer = true,
	};
}

struct mm *fake_create(struct fake *fake, const struct mm_config *config)
{
	int error = mm_create(config, &fake->mm);

	DEMAND(error == 0, "mm_create: %s", strerror(-error));
	return fake->mm;
}

void fake_compare(struct fake *fake)
{
	enum { ABSENT = 1, UNMAPPED = 2, MAPPED = 4 };
	/* By what there may be. A permission to reach the page is no promise: see frame.h. */
	static const unsigned char may[FRAME_STATES] = {
		[FRAME_UNTOUCHED] = ABSENT,
		[FRAME_MAPPED] = UNMAPPED | MAPPED,
		[FRAME_WATCHED] = UNMAPPED,
		[FRAME_EVICTING] = UNMAPPED,
		/* Only where the machine failed half-way. */
		[FRAME_RELEASING] = ABSENT | UNMAPPED | MAPPED,
		[FRAME_FILLING] = 0,
		[FRAME_SAME_FILLED] = ABSENT,
		[FRAME_COMPRESSED] = ABSENT,
		[FRAME_SWAPPED] = ABSENT,
		[FRAME_RELEASED] = ABSENT,
	};

	lock_take(&fake->mm->lock);
	/* The reclaimer may be amid a batch. */
	while (fake->mm->has_reclaimer && fake->failure_count == 0 &&
	       fake->mm->count[FRAME_EVICTING] + fake->mm->count[FRAME_RELEASING] > 0)
		mm_wait(fake->mm);
	pthread_mutex_lock(&fake->lock);
	for (uint32_t i = 0; i < fake->frame_count; i++) {
		const struct mm_frame *f = &fake->mm->frames[i];
		int is;

		/* The guest may have mapped a watched frame again. */
		is = 1 << (fake->present[i] + fake->mapped[i]);
		if (fake->scans && f->state == FRAME_WATCHED && is == MAPPED)
			is = UNMAPPED;
		DEMAND(may[f->state] & is, "frame %u, %s, is %s and %s", i,
		       frame_state_name(f->state), fake->present[i] ? "present" : "absent",
		       fake->mapped[i] ? "mapped" : "unmapped");
		DEMAND(!fake->sealed[i] || f->state != FRAME_MAPPED || fake->map_failed,
		       "frame %u is mapped and sealed", i);
		DEMAND(f->state != FRAME_RELEASING || fake->failure_count > 0,
		       "frame %u stays on its way out", i);
	}
	pthread_mutex_unlock(&fake->lock);
	lock_drop(&fake->mm->lock);
}

void fake_end(struct fake *fake)
{
	fake_compare(fake);
	DEMAND(mm_check(fake->mm, stderr) == 0, "mm_check found breaches");
	mm_destroy(fake->mm);
	fake_finish(fake);
}

int fake_access(struct fake *fake, uint32_t frame, bool write,
		void (*access)(void *page, void *context), void *context)
{
	for (;;) {
		int error;

		pthread_mutex_lock(&fake->lock);
		/* The host kernel maps what is there. */
		if (fake->scans && fake->present[frame])
			fake->mapped[frame] = 1;
		if (fake->mapped[frame] && !(fake->sealed[frame] && write)) {
			access(page_of(fake, frame), context);
			pthread_mutex_unlock(&fake->lock);
			return 0;
		}
		pthread_mutex_unlock(&fake->lock);
		error = mm_fault(fake->mm, gfn(frame), write);
		if (error != 0)
			return error;
	}
}

static void read_word(void *page, void *context)
{
	memcpy(context, page, sizeof(uint64_t));
}

static void write_word(void *page, void *context)
{
	memcpy(page, context, sizeof(uint64_t));
}

uint64_t fake_read(struct fake *fake, uint32_t frame)
{
	uint64_t word = 0;
	int error = fake_access(fake, frame, false, read_word, &word);

	DEMAND(error == 0, "fault on frame %u: %s", frame, strerror(-error));
	return word;
}

void fake_write(struct fake *fake, uint32_t frame, uint64_t word)
{
	int error = fake_access(fake, frame, true, write_word, &word);

	DEMAND(error == 0, "fault on frame %u: %s", frame, strerror(-error));
}

static void fill_random(unsigned char *p, size_t size, uint64_t *state)
{
	for (size_t i = 0; i < size; i += sizeof(uint64_t)) {
		uint64_t v = rng_next(state);

		memcpy(p + i, &v, sizeof(v));
	}
}

void content_make(void *page, enum content kind, uint32_t frame, uint32_t version)
{
	static const char *const words[8] = { "the ",	 "frame ", "of ",   "guest ",
					      "memory ", "is ",	   "page ", "fault\n" };
	uint64_t state = ((uint64_t)frame << 32 | version) * 0x9e3779b97f4a7c15ull | 1;
	unsigned char *p = page;

	switch (kind) {
	case CONTENT_WORD:
		fill_random(p, 8, &state);
		for (size_t i = 8; i < PAGE_SIZE; i *= 2)
			memcpy(p + i, p, i < PAGE_SIZE - i ? i : PAGE_SIZE - i);
		break;
	case CONTENT_HALF:
		/* Random and constant eighths in turn, as a program's half-filled tables. */
		for (size_t i = 0; i < PAGE_SIZE; i += PAGE_SIZE / 4) {
			fill_random(p + i, PAGE_SIZE / 8, &state);
			memset(p + i + PAGE_SIZE / 8, (int)(frame & 255), PAGE_SIZE / 8);
		}
		break;
	case CONTENT_TEXT:
		for (size_t i = 0; i < PAGE_SIZE;) {
			const char *word = words[rng_next(&state) >> 61];
			size_t n = strlen(word);

			if (n > PAGE_SIZE - i)
				n = PAGE_SIZE - i;
			memcpy(p + i, word, n);
			i += n;
		}
		break;
	case CONTENT_RANDOM:
		fill_random(p, PAGE_SIZE, &state);
		break;
	default:
		memset(p, 0, PAGE_SIZE);
	}
}

static void copy_in(void *page, void *context)
{
	memcpy(page, context, PAGE_SIZE);
}

static void copy_out(void *page, void *context)
{
	memcpy(context, page, PAGE_SIZE);
}

int fake_put(struct fake *fake, uint32_t frame, enum content kind, uint32_t version)
{
	uint64_t page[PAGE_SIZE / 8];

	content_make(page, kind, frame, version);
	return fake_access(fake, frame, true, copy_in, page);
}

int fake_expect(struct fake *fake, uint32_t frame, enum content kind, uint32_t version)
{
	uint64_t page[PAGE_SIZE / 8], should[PAGE_SIZE / 8];
	int error = fake_access(fake, frame, false, copy_out, page);

	if (error != 0)
		return error;
	content_make(should, kind, frame, version);
	DEMAND(memcmp(page, should, PAGE_SIZE) == 0, "frame %u does not hold version %u, kind %d",
	       frame, version, (int)kind);
	return 0;
}

uint64_t test_seed(void)
{
	const char *text = getenv("BIFOLD_SEED");
	struct timespec t;

	if (text != NULL)
		return strtoull(text, NULL, 0) | 1;
	clock_gettime(CLOCK_REALTIME, &t);
	return ((uint64_t)t.tv_nsec << 20 ^ (uint64_t)t.tv_sec) | 1;
}

uint64_t test_steps(uint64_t standard)
{
	const char *text = getenv("BIFOLD_STEPS");

	return text != NULL ? strtoull(text, NULL, 0) : standard;
}
