/* /proc/vmstat and /proc/meminfo. */
#include "guest/proc/meminfo.h"
#include "guest/device/balloon.h"
#include "guest/lib/count.h"
#include "guest/lib/text.h"
#include "guest/memory/cache.h"
#include "guest/memory/commit.h"
#include "guest/memory/huge.h"
#include "guest/memory/page.h"
#include "guest/memory/replace.h"
#include "guest/memory/workingset.h"
#include "guest/process/thread.h"

void vmstat_text(struct text *text)
{
	text_add(text, "nr_free_pages %lu\nnr_file_pages %lu\nnr_swap_used %lu\n",
		 page_free_count(), cache_pages, swap_pages_used);
	text_add(text, "nr_balloon_pages %lu\n", balloon_pages);
	text_add(text, "nr_kernel_stack %lu\nnr_kernel_stack_tables %lu\n", thread_stack_pages,
		 thread_stack_tables);
	text_add(text, "workingset_estimate_pages %lu\n", workingset_estimate);
	text_add(text, "nr_replaceable %lu\nswap_bytes_used %lu\n", replace_main.count,
		 swap_bytes_used);
#define VM_COUNTER_LINE(name) text_add(text, #name " %lu\n", vm_count.name);
	VM_COUNTERS(VM_COUNTER_LINE)
}

/* Files are in the page cache only where they were written: that cannot be taken away. */
void meminfo_text(struct text *text)
{
	const struct {
		const char *name;
		uint64_t pages;
	} lines[] = {
		{ "MemTotal:", page_total },
		{ "MemFree:", page_free_count() },
		{ "MemAvailable:", page_free_count() },
		{ "Buffers:", 0 },
		{ "Cached:", cache_pages },
		{ "SwapTotal:", swap_pages_total },
		{ "SwapFree:", swap_pages_total - MIN(swap_pages_total, swap_pages_used) },
		{ "Shmem:", cache_pages },
		{ "KernelStack:", thread_stack_pages },
		{ "Balloon:", balloon_pages },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(lines); i++)
		text_add(text, "%-16s%8lu kB\n", lines[i].name,
			 lines[i].pages * (PAGE_SIZE / 1024));
	commit_meminfo_text(text);
	huge_meminfo_text(text);
}
