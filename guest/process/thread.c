/*
 * Threads' memory: the record and the kernel stack.
 *
 * Kernel stacks lie in slots of the VMAP region, each at the top of its slot; the rest of the slot
 * is never mapped, so a stack that overruns faults, and the double fault says so on a stack of its
 * own. A stack once mapped stays so and is used again: kernel mappings never change under another
 * CPU's TLB.
 */
#include "guest/process/thread.h"
#include "guest/cpu/vector.h"
#include "guest/lib/string.h"
#include "guest/memory/slab.h"
#include "guest/memory/table.h"
#include "guest/process/process.h"

#define STACK_BASE  (VMAP_BASE + (1ull << 30))
#define STACK_SLOT  (64 << 10)
#define STACK_ORDER 2
#define STACK_PAGES (1 << STACK_ORDER)

/* entry.S: where a new thread's first switch arrives. */
void thread_first_return(void);

unsigned thread_count;
static uint64_t stack_free; /* top of the first free stack; the word below it has the next */
static unsigned slot_count;
uint64_t threads_made;
int thread_last;

static uint64_t stack_map(void)
{
	uint64_t top = STACK_BASE + (slot_count + 1ull) * STACK_SLOT;
	struct page *pages = page_alloc(STACK_ORDER, PAGE_ANY);

	if (!pages)
		return 0;
	for (unsigned i = 0; i < STACK_PAGES; i++) {
		uint64_t va = top - (STACK_PAGES - i) * PAGE_SIZE;

		if (!vmap_set(va, (page_physical(pages) + i * PAGE_SIZE) | PTE_P | PTE_W | PTE_A |
					  PTE_D | PTE_G | PTE_NX)) {
			page_free(pages, STACK_ORDER, false);
			return 0;
		}
	}
	slot_count++;
	return top;
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
