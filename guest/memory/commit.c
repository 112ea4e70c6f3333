/* Overcommit. commit.h explains the modes. */
#include "guest/memory/commit.h"
#include "guest/lib/errno.h"
#include "guest/lib/text.h"
#include "guest/memory/page.h"
#include "guest/memory/replace.h"

#define RATIO_MAX  10000
#define KBYTES_MAX (1ull << 40)

unsigned overcommit_mode = OVERCOMMIT_GUESS, overcommit_ratio = 50;
uint64_t overcommit_kbytes;
uint64_t committed_pages;

uint64_t commit_limit(void)
{
	uint64_t pages = overcommit_kbytes ? overcommit_kbytes / (PAGE_SIZE / 1024)
					   : page_total * overcommit_ratio / 100;

	return swap_pages_total + pages;
}

bool commit_allows(uint64_t pages)
{
	if (overcommit_mode == OVERCOMMIT_ALWAYS || pages == 0)
		return true;
	if (overcommit_mode == OVERCOMMIT_GUESS)
		return pages <= page_total + swap_pages_total;
	return committed_pages + pages <= commit_limit();
}

bool commit_holds_without(uint64_t pages)
{
	return overcommit_mode != OVERCOMMIT_NEVER || committed_pages - pages <= commit_limit();
}

/* A number from 0 to `most`, perhaps with a line's end behind it. */
static int parse(const char *text, uint64_t most, uint64_t *value)
{
	uint64_t number = 0;

	if (*text < '0' || *text > '9')
		return -EINVAL;
	for (; *text >= '0' && *text <= '9'; text++) {
		number = number * 10 + (*text - '0');
		if (number > most)
			return -EINVAL;
	}
	if (*text && *text != '\n')
		return -EINVAL;
	*value = number;
	return 0;
}

int overcommit_memory_store(const char *text)
{
	uint64_t mode;
	int error = parse(text, OVERCOMMIT_NEVER, &mode);

	if (!error)
		overcommit_mode = mode;
	return error;
}

/* Of ratio and kbytes the one that was written last counts; the other is 0 then. */
int overcommit_ratio_store(const char *text)
{
	uint64_t ratio;
	int error = parse(text, RATIO_MAX, &ratio);

	if (error)
		return error;
	overcommit_ratio = ratio;
	overcommit_kbytes = 0;
	return 0;
}

int overcommit_kbytes_store(const char *text)
{
	int error = parse(text, KBYTES_MAX, &overcommit_kbytes);

	if (!error)
		overcommit_ratio = 0;
	return error;
}

void overcommit_kbytes_text(struct text *text)
{
	text_add(text, "%lu\n", overcommit_kbytes);
}

void overcommit_memory_text(struct text *text)
{
	text_add(text, "%u\n", overcommit_mode);
}

void overcommit_ratio_text(struct text *text)
{
	text_add(text, "%u\n", overcommit_ratio);
}

void commit_meminfo_text(struct text *text)
{
	text_add(text, "CommitLimit:    %8lu kB\nCommitted_AS:   %8lu kB\n",
		 commit_limit() * (PAGE_SIZE / 1024), committed_pages * (PAGE_SIZE / 1024));
}
