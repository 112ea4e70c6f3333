/* Free memory by the size of its blocks. fragment.h has the measures. */
#include "guest/memory/fragment.h"
#include "guest/lib/text.h"
#include "guest/memory/page.h"

/* Free memory as an allocation of one order sees it. */
struct view {
	uint64_t pages, blocks; /* all that is free */
	uint64_t suitable;	/* blocks of the order that there are, or could be cut */
};

static struct view view_for(unsigned order, const struct page_blocks *blocks)
{
	struct view view = { 0 };

	for (unsigned i = 0; i < PAGE_ORDERS; i++) {
		uint64_t count = blocks->used[i] + blocks->fresh[i];

		view.blocks += count;
		view.pages += count << i;
		if (i >= order)
			view.suitable += count << (i - order);
	}
	return view;
}

static int64_t fragmentation(unsigned order, const struct page_blocks *blocks)
{
	struct view view = view_for(order, blocks);

	if (view.blocks == 0)
		return 0;
	if (view.suitable > 0)
		return -1000;
	return 1000 - (int64_t)((1000 + (view.pages * 1000 >> order)) / view.blocks);
}

static int64_t unusable(unsigned order, const struct page_blocks *blocks)
{
	struct view view = view_for(order, blocks);

	if (view.pages == 0)
		return 1000;
	return (view.pages - (view.suitable << order)) * 1000 / view.pages;
}

int64_t fragmentation_index(unsigned order)
{
	struct page_blocks blocks;

	page_count_blocks(&blocks);
	return fragmentation(order, &blocks);
}

int64_t unusable_index(unsigned order)
{
	struct page_blocks blocks;

	page_count_blocks(&blocks);
	return unusable(order, &blocks);
}

static void line(struct text *text, const char *zone, const uint64_t *count)
{
	text_add(text, "Node 0, zone %8s ", zone);
	for (unsigned i = 0; i < PAGE_ORDERS; i++)
		text_add(text, "%6lu ", count[i]);
	text_add(text, "\n");
}

void buddyinfo_text(struct text *text)
{
	struct page_blocks blocks;

	page_count_blocks(&blocks);
	line(text, "Normal", blocks.used);
	line(text, "Fresh", blocks.fresh);
}

static void index_text(struct text *text,
		       int64_t (*measure)(unsigned order, const struct page_blocks *blocks))
{
	struct page_blocks blocks;

	page_count_blocks(&blocks);
	text_add(text, "Node 0, zone %8s ", "all");
	for (unsigned i = 0; i < PAGE_ORDERS; i++) {
		int64_t value = measure(i, &blocks);
		uint64_t size = value < 0 ? -value : value;

		text_add(text, "%s%lu.%03lu ", value < 0 ? "-" : "", size / 1000, size % 1000);
	}
	text_add(text, "\n");
}

void extfrag_index_text(struct text *text)
{
	index_text(text, fragmentation);
}

void unusable_index_text(struct text *text)
{
	index_text(text, unusable);
}
