/* /proc/vmstat. */
#include "guest/memory/count.h"
#include "guest/file/cache.h"
#include "guest/file/text.h"
#include "guest/memory/page.h"
#include "guest/memory/replace.h"
#include "guest/memory/workingset.h"
#include "guest/process/thread.h"

struct vm_count vm_count;

void vmstat_text(struct text *text)
{
	text_add(text, "nr_free_pages %lu\nnr_file_pages %lu\nnr_swap_used %lu\n", page_free_total,
		 cache_pages, swap_pages_used);
	text_add(text, "nr_kernel_stack %lu\nnr_kernel_stack_tables %lu\n", thread_stack_pages,
		 thread_stack_tables);
	text_add(text, "workingset_estimate_pages %lu\n", workingset_estimate);
	text_add(text, "nr_replaceable %lu\nswap_bytes_used %lu\n", replace_main.count,
		 swap_bytes_used);
#define VM_COUNTER_LINE(name) text_add(text, #name " %lu\n", vm_count.name);
	VM_COUNTERS(VM_COUNTER_LINE)
}
