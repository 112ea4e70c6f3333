/*
 * counts MIB SECONDS SEED: words that are counted up all over MIB of memory, so that a write that
 * is lost is a count too low. Four writers choose pages at random, some more often than others:
 * two add to words of their own, plainly; two add to a word they share, atomically; and each now
 * and then has the kernel write, by reading a pipe into the page. What the words should be is kept
 * in a table beside, of 12 bytes a page and writer. Says "ready" when all is filled, and then
 * "whole", or which words are wrong.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define PAGE	4096u
#define WRITERS 4

/* A page. What fills the rest compresses in three pages of four. */
struct page {
	uint64_t plain[WRITERS], by_kernel[WRITERS];
	atomic_uint_least64_t shared;
	uint64_t fill[PAGE / 8 - 2 * WRITERS - 1];
};

/* What one writer did to a page. */
struct done {
	uint32_t plain, shared, by_kernel;
};

static struct page *pages;
static uint64_t page_count;
static time_t end;
static atomic_uint wrong;

struct writer {
	unsigned number;
	uint64_t random;
	struct done *done; /* of each page */
	uint64_t writes;
	pthread_t key;
};

static uint64_t next(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* The k-th word of a page's rest, asked for in order; state begins with 0. */
static uint64_t rest(uint64_t page, unsigned k, uint64_t *state)
{
	if (k == 0)
		*state = page + 1;
	return page % 4 == 0 || k < PAGE / 32 ? next(state) : page;
}

static void complain(uint64_t page, const char *what, uint64_t is, uint64_t should_be)
{
	if (atomic_fetch_add(&wrong, 1) < 20)
		printf("page %lu: %s is %lu, not %lu\n", page, what, is, should_be);
}

/* The page's word becomes value, written by the kernel. */
static void write_by_kernel(const int *pipe_ends, uint64_t *word, uint64_t value)
{
	if (write(pipe_ends[1], &value, sizeof(value)) != sizeof(value) ||
	    read(pipe_ends[0], word, sizeof(*word)) != sizeof(*word)) {
		printf("the pipe failed\n");
		exit(1);
	}
}

static void write_page(struct writer *self, uint64_t number, const int *pipe_ends)
{
	struct page *page = &pages[number];
	struct done *done = &self->done[number];
	unsigned own = self->number;

	if (self->number % 2 == 0) {
		if (page->plain[own] != done->plain)
			complain(number, "a plain count", page->plain[own], done->plain);
		page->plain[own] = ++done->plain;
	} else {
		atomic_fetch_add(&page->shared, 1);
		done->shared++;
	}
	if (self->random % 8 == 0) {
		if (page->by_kernel[own] != done->by_kernel)
			complain(number, "the kernel's count", page->by_kernel[own],
				 done->by_kernel);
		write_by_kernel(pipe_ends, &page->by_kernel[own], ++done->by_kernel);
	}
	self->writes++;
}

static void *writer(void *argument)
{
	struct writer *self = argument;
	int pipe_ends[2];

	if (pipe(pipe_ends) != 0) {
		perror("pipe");
		exit(1);
	}
	while (time(NULL) < end)
		for (unsigned i = 0; i < 64; i++) {
			/* Three of four writes go to an eighth of the pages. */
			uint64_t range = next(&self->random) % 4 != 0 ? page_count / 8 : page_count;

			write_page(self, next(&self->random) % range, pipe_ends);
		}
	return NULL;
}

static void check(const struct writer *writers)
{
	for (uint64_t i = 0; i < page_count; i++) {
		uint64_t shared = 0, state;

		for (unsigned w = 0; w < WRITERS; w++) {
			const struct done *done = &writers[w].done[i];

			shared += done->shared;
			if (pages[i].plain[w] != done->plain)
				complain(i, "a plain count", pages[i].plain[w], done->plain);
			if (pages[i].by_kernel[w] != done->by_kernel)
				complain(i, "the kernel's count", pages[i].by_kernel[w],
					 done->by_kernel);
		}
		if (pages[i].shared != shared)
			complain(i, "the shared count", pages[i].shared, shared);
		for (unsigned k = 0; k < sizeof(pages[i].fill) / 8; k++)
			if (pages[i].fill[k] != rest(i, k, &state))
				complain(i, "a word of the rest", pages[i].fill[k], i);
	}
}

int main(int argc, char **argv)
{
	static struct writer writers[WRITERS];
	uint64_t writes = 0;

	if (argc != 4)
		return 2;
	page_count = strtoul(argv[1], NULL, 10) << 20 >> 12;
	pages = aligned_alloc(PAGE, page_count * PAGE);
	for (uint64_t i = 0; i < page_count; i++) {
		uint64_t state;

		pages[i] = (struct page){ 0 };
		for (unsigned k = 0; k < sizeof(pages[i].fill) / 8; k++)
			pages[i].fill[k] = rest(i, k, &state);
	}
	end = time(NULL) + atol(argv[2]);
	puts("ready");
	fflush(stdout);
	for (unsigned w = 0; w < WRITERS; w++) {
		writers[w] = (struct writer){ .number = w };
		writers[w].random = (strtoul(argv[3], NULL, 10) << 3 | w) * 2 + 1;
		writers[w].done = calloc(page_count, sizeof(struct done));
		if (writers[w].done == NULL ||
		    pthread_create(&writers[w].key, NULL, writer, &writers[w]) != 0)
			return 3;
	}
	for (unsigned w = 0; w < WRITERS; w++) {
		pthread_join(writers[w].key, NULL);
		writes += writers[w].writes;
	}
	check(writers);
	printf("%lu writes, %s\n", writes, wrong == 0 ? "whole" : "wrong");
	return wrong != 0;
}
