/* Overcommit. commit.h says what the modes mean. */
#include "guest/memory/commit.h"
#include "guest/file/text.h"
#include "guest/lib/errno.h"
#include "guest/memory/page.h"
#include "guest/memory/replace.h"

unsigned overcommit_mode = OVERCOMMIT_GUESS, overcommit_ratio = 50;
uint64_t committed_pages;

uint64_t commit_limit(void)
{
	return swap_pages_total + page_total * overcommit_ratio / 100;
}

bool commit_allows(uint64_t pages)
{
	if (overcommit_mode == OVERCOMMIT_ALWAYS)
		return true;
	if (overcommit_mode == OVERCOMMIT_GUESS)
		return pages <= page_total + swap_pages_total;
	return committed_pages + pages <= commit_limit();
}

/* A number from 0 to `most`, perhaps with a line's end behind it. */
static int parse(const char *text, unsigned most, unsigned *value)
{
	unsigned number = 0;

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
	return parse(text, OVERCOMMIT_NEVER, &overcommit_mode);
}

int overcommit_ratio_store(const char *text)
{
	return parse(text, 10000, &overcommit_ratio);
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
