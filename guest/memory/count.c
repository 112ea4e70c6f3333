/* /proc/vmstat. */
#include "guest/memory/count.h"
#include "guest/file/text.h"
#include "guest/memory/page.h"

struct vm_count vm_count;

void vmstat_text(struct text *text)
{
	text_add(text, "nr_free_pages %lu\n", page_free_total);
#define VM_COUNTER_LINE(name) text_add(text, #name " %lu\n", vm_count.name);
	VM_COUNTERS(VM_COUNTER_LINE)
}
