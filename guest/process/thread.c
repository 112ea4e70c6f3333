/*
 * Threads' memory: the record and the kernel stack.
 *
 * Kernel stacks lie in slots of the VMAP region, each at the top of its slot; the rest of the slot
 * is never mapped, so a stack that overruns faults, and the double fault says so on a stack of its
 * own. A stack once mapped is used again; when memory is short those that nobody uses are unmapped,
 * on all CPUs before the frames go. A slot without a stack is on a list through its last entry,
 * which is not present: the next such slot's number + 1 stands in the frame's bits.
 */
#include "guest/process/thread.h"
#include "guest/cpu/tlb.h"
#include "guest/lib/string.h"
#include "guest/memory/slab.h"
#include "guest/memory/table.h"
#include "guest/process/process.h"
#include "guest/process/vector.h"

#define STACK_BASE	(VMAP_BASE + (1ull << 30))
#define STACK_SLOT	(64 << 10)
#define STACK_ORDER	2
#define STACK_PAGES	(1 << STACK_ORDER)
#define SLOTS_PER_TABLE (unsigned)(LEAF_SIZE / STACK_SLOT)

/* entry.S: where a new thread's first switch arrives. */
void thread_first_return(void);

extern uint64_t boot_pml4[];

unsigned thread_count;
uint64_t thread_stack_pages, thread_stack_tables;
static uint64_t stack_free; /* top of the first free stack; the word below it has the next */
static unsigned slot_count, slot_free; /* slots ever used; the first without a stack, + 1 */
uint64_t threads_made;
int thread_last;

static uint64_t slot_top(unsigned slot)
{
	return STACK_BASE + (slot + 1ull) * STACK_SLOT;
}

/* The entry of a stack's page, counted down from its top. */
static uint64_t stack_entry(uint64_t top, unsigned page)
{
	uint64_t va = top - (page + 1) * PAGE_SIZE;

	return table_leaf(boot_pml4, va)[leaf_index(va)];
}

static uint64_t stack_map(void)
{
	unsigned slot = slot_free ? slot_free - 1 : slot_count;
	uint64_t top = slot_top(slot), next;
	struct page *pages = page_alloc(STACK_ORDER, PAGE_ANY);

	if (!pages)
		return 0;
	next = slot_free ? pte_frame(stack_entry(top, 0)) : 0;
	for (unsigned i = 0; i < STACK_PAGES; i++) {
		uint64_t va = top - (STACK_PAGES - i) * PAGE_SIZE;

		if (!vmap_set(va, (page_physical(pages) + i * PAGE_SIZE) | PTE_P | PTE_W | PTE_A |
					  PTE_D | PTE_G | PTE_NX)) {
			page_free(pages, STACK_ORDER, false);
			return 0;
		}
	}
	if (slot_free)
		slot_free = next;
	else if (slot_count++ % SLOTS_PER_TABLE == 0)
		thread_stack_tables++;
	thread_stack_pages += STACK_PAGES;
	return top;
}

static void stack_unmap(uint64_t top, uint32_t *frames)
{
	struct page *pages = pte_page(stack_entry(top, STACK_PAGES - 1));

	pages->next = *frames;
	*frames = page_frame(pages);
	for (unsigned i = 0; i < STACK_PAGES; i++)
		vmap_set(top - (i + 1) * PAGE_SIZE, i ? 0 : (uint64_t)slot_free << PAGE_SHIFT);
	slot_free = (top - STACK_BASE) / STACK_SLOT;
	thread_stack_pages -= STACK_PAGES;
}

uint64_t thread_trim_stacks(void)
{
	uint64_t freed = 0;
	uint32_t frames = 0;

	while (stack_free) {
		uint64_t top = stack_free;

		stack_free = ((uint64_t *)top)[-1];
		stack_unmap(top, &frames);
	}
	if (frames)
		tlb_flush_kernel();
	while (frames) {
		struct page *pages = page_of_frame(frames);

		frames = pages->next;
		page_free(pages, STACK_ORDER, false);
		freed += STACK_PAGES;
	}
	return freed;
}

static uint64_t stack_take(void)
{
	uint64_t top = stack_free;

	if (!top)
		return stack_map();
	stack_free = ((uint64_t *)top)[-1];
	return top;
}

static int next_tid(void)
{
	do {
		thread_last = thread_last == TID_MAX - 1 ? 2 : thread_last + 1;
	} while (thread_last < (int)THREAD_MAX && thread_count > 1 && thread_find(thread_last));
	threads_made++;
	return thread_last;
}

static void wake_sleeper(struct timer *timer)
{
	thread_rouse((struct thread *)((char *)timer - offsetof(struct thread, sleep)));
}

struct thread *thread_create(struct process *process)
{
	struct thread *thread;

	if (thread_count >= THREAD_MAX)
		return NULL;
	thread = memory_alloc_zero(sizeof(*thread));
	if (!thread)
		return NULL;
	thread->stack_top = stack_take();
	if (!thread->stack_top) {
		memory_free(thread);
		return NULL;
	}
	thread->alternate.flags = 2; /* none */
	thread->sleep.expired = wake_sleeper;
	thread->state = THREAD_WAITING;
	thread->process = process;
	thread->affinity = UINT64_MAX;
	thread_count++;
	if (!process)
		return thread;
	thread->tid = next_tid();
	thread->next = process->threads;
	process->threads = thread;
	process->thread_count++;
	return thread;
}

void thread_destroy(struct thread *thread)
{
	timer_clear(&thread->sleep);
	signal_queue_clear(&thread->pending);
	vector_free(thread);
	((uint64_t *)thread->stack_top)[-1] = stack_free;
	stack_free = thread->stack_top;
	thread_count--;
	memory_free(thread);
}

void thread_begin(struct thread *thread, const struct trap_frame *frame)
{
	uint64_t *stack = (uint64_t *)thread_frame(thread);

	*thread_frame(thread) = *frame;
	*--stack = (uint64_t)thread_first_return;
	for (unsigned i = 0; i < 6; i++)
		*--stack = 0; /* the registers that switch_stack keeps */
	thread->stack_pointer = (uint64_t)stack;
	thread_rouse(thread);
}
