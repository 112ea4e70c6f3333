/*
 * Processes: kernel stacks, the switch, waiting, the end.
 *
 * Kernel stacks lie in slots of the VMAP region, each at the top of its slot; the rest of the slot
 * is never mapped, so a stack that overruns faults, and the double fault says so on a stack of its
 * own.
 */
#include "guest/process/process.h"
#include "guest/cpu/asm.h"
#include "guest/cpu/clock.h"
#include "guest/cpu/tlb.h"
#include "guest/lib/errno.h"
#include "guest/lib/string.h"
#include "guest/memory/slab.h"
#include "guest/memory/user.h"
#include "guest/monitor/doorbell.h"

#define STACK_BASE  (VMAP_BASE + (1ull << 30))
#define STACK_SLOT  (64 << 10)
#define STACK_ORDER 2
#define STACK_PAGES (1 << STACK_ORDER)
#define SLOT_MAX    4096

#define VECTOR_STATE_SIZE 512
#define MXCSR_AT	  24
#define MXCSR_DEFAULT	  0x1f80
#define FCW_DEFAULT	  0x37f

/* entry.S */
void switch_stack(uint64_t *old, uint64_t new);

extern uint64_t boot_pml4[];

struct process *process_list;
const char console_input;
static uint64_t slots_used[SLOT_MAX / 64];
static int pid_last;

static const struct linux_rlimit limits_default[RLIMIT_COUNT] = {
	[0 ... 2] = { UINT64_MAX, UINT64_MAX },
	[RLIMIT_STACK] = { 8 << 20, UINT64_MAX },
	[4] = { 0, UINT64_MAX }, /* core */
	[5 ... 6] = { UINT64_MAX, UINT64_MAX },
	[7] = { FILE_TABLE_MAX, FILE_TABLE_MAX }, /* open files */
	[8 ... RLIMIT_COUNT - 1] = { UINT64_MAX, UINT64_MAX },
};

static bool stack_create(struct process *process)
{
	struct page *pages;
	unsigned slot = 0;

	while (slot < SLOT_MAX && (slots_used[slot / 64] >> slot % 64 & 1))
		slot++;
	pages = slot < SLOT_MAX ? page_alloc(STACK_ORDER, PAGE_ANY) : NULL;
	if (!pages)
		return false;
	process->stack_slot = slot;
	process->stack_top = STACK_BASE + (slot + 1ull) * STACK_SLOT;
	for (unsigned i = 0; i < STACK_PAGES; i++) {
		uint64_t va = process->stack_top - (STACK_PAGES - i) * PAGE_SIZE;

		if (!vmap_set(va, (page_physical(pages) + i * PAGE_SIZE) | PTE_P | PTE_W | PTE_A |
					  PTE_D | PTE_G | PTE_NX)) {
			page_free(pages, STACK_ORDER, false);
			return false;
		}
	}
	slots_used[slot / 64] |= 1ull << slot % 64;
	return true;
}

static void stack_destroy(struct process *process)
{
	uint64_t bottom = process->stack_top - STACK_PAGES * PAGE_SIZE;
	uint64_t first = table_leaf(boot_pml4, bottom)[leaf_index(bottom)];

	for (unsigned i = 0; i < STACK_PAGES; i++) {
		vmap_set(bottom + i * PAGE_SIZE, 0);
		invlpg(bottom + i * PAGE_SIZE);
	}
	page_free(page_of_frame((first & PTE_FRAME) >> PAGE_SHIFT), STACK_ORDER, false);
	slots_used[process->stack_slot / 64] &= ~(1ull << process->stack_slot % 64);
}

static void vector_state_default(uint8_t *state)
{
	memset(state, 0, VECTOR_STATE_SIZE);
	*(uint16_t *)state = FCW_DEFAULT;
	*(uint32_t *)(state + MXCSR_AT) = MXCSR_DEFAULT;
}

struct process *process_create(struct process *parent)
{
	struct process *process = memory_alloc_zero(sizeof(*process));

	if (!process)
		return NULL;
	process->vector_state = memory_alloc(VECTOR_STATE_SIZE);
	if (!process->vector_state || !stack_create(process)) {
		memory_free(process->vector_state);
		memory_free(process);
		return NULL;
	}
	vector_state_default(process->vector_state);
	process->pid = ++pid_last;
	process->parent = parent;
	process->directory = node_root;
	process->umask = 022;
	process->started = clock_now();
	memcpy(process->limit, limits_default, sizeof(limits_default));
	process->state = PROCESS_WAITING;
	process->deadline = WAIT_FOREVER;
	process->next = process_list;
	process_list = process;
	return process;
}

/* Where a new process's first switch arrives: its stack holds nothing but its frame. */
static void first_return(void)
{
	trap_return(process_frame(current()));
}

void process_prepare(struct process *process, const struct trap_frame *frame)
{
	uint64_t *stack = (uint64_t *)process_frame(process);

	*process_frame(process) = *frame;
	*--stack = 0; /* keeps the stack aligned as after a call */
	*--stack = (uint64_t)first_return;
	for (unsigned i = 0; i < 6; i++)
		*--stack = 0;
	process->stack_pointer = (uint64_t)stack;
	process->state = PROCESS_RUNNABLE;
}

/* Makes `next` current: everything of a process that the CPU holds. */
static void load(struct process *next)
{
	cpu_set_kernel_stack(next->stack_top);
	this_cpu()->current = next;
	this_cpu()->work = (next->signals.pending & ~next->signals.blocked) != 0;
	space_switch(next->space);
	msr_write(MSR_FS_BASE, next->fs_base);
	msr_write(MSR_KERNEL_GS_BASE, next->gs_base);
	__asm__ volatile("fxrstor64 (%0)" : : "r"(next->vector_state) : "memory");
}

static void switch_to(struct process *next)
{
	struct process *old = current();

	if (next == old)
		return;
	if (old->state != PROCESS_ZOMBIE)
		__asm__ volatile("fxsave64 (%0)" : : "r"(old->vector_state) : "memory");
	load(next);
	switch_stack(&old->stack_pointer, next->stack_pointer);
}

/* The next that can run, round from the current one, which comes last; NULL when none can. */
static struct process *pick(void)
{
	struct process *start = current(), *process = start;

	do {
		process = process->next ? process->next : process_list;
		if (process->state == PROCESS_WAITING && process->deadline != WAIT_FOREVER &&
		    clock_now() >= process->deadline)
			process->state = PROCESS_RUNNABLE;
		if (process->state == PROCESS_RUNNABLE)
			return process;
	} while (process != start);
	return NULL;
}

/* The earliest deadline of all that wait. */
static uint64_t next_deadline(void)
{
	uint64_t deadline = WAIT_FOREVER;

	for (struct process *process = process_list; process; process = process->next) {
		if (process->state == PROCESS_WAITING)
			deadline = MIN(deadline, process->deadline);
	}
	return deadline;
}

static void schedule(void)
{
	struct process *next;

	while (!(next = pick())) {
		clock_set_alarm(next_deadline());
		doorbell_wait();
	}
	switch_to(next);
}

void process_start(struct process *first)
{
	load(first);
	trap_return(process_frame(first));
}

static bool signal_waits(const struct process *process)
{
	return process->signals.pending & ~process->signals.blocked;
}

/* Waits for the channel or the deadline, and counts the time. */
static void wait_on(const void *channel, uint64_t deadline)
{
	struct process *process = current();
	uint64_t start = clock_now();

	process->channel = channel;
	process->deadline = deadline;
	process->state = PROCESS_WAITING;
	schedule();
	process->channel = NULL;
	process->deadline = WAIT_FOREVER;
	process->waited_ns += clock_now() - start;
}

bool process_wait(const void *channel, uint64_t deadline)
{
	if (signal_waits(current()))
		return false;
	wait_on(channel, deadline);
	return !signal_waits(current());
}

void process_wait_deaf(const void *channel)
{
	current()->deaf = true;
	wait_on(channel, WAIT_FOREVER);
	current()->deaf = false;
}

void process_wake(const void *channel)
{
	for (struct process *process = process_list; process; process = process->next) {
		if (process->state == PROCESS_WAITING && process->channel == channel)
			process->state = PROCESS_RUNNABLE;
	}
}

void process_yield(void)
{
	schedule();
}

void process_return_space(struct process *process)
{
	if (!process->borrows)
		return;
	process->borrows = false;
	process_wake(process);
}

/* Children of the dying go to init; there is no init without its end being the end of all. */
static void orphan_children(const struct process *process)
{
	for (struct process *child = process_list; child; child = child->next) {
		if (child->parent == process)
			child->parent = process->parent;
	}
}

void process_exit(int wait_status)
{
	struct process *process = current();

	if (!process->parent)
		doorbell_exit(wait_status >> 8 & 0xff, wait_status & 0x7f);
	if (process->clear_tid)
		user_write(process->clear_tid, &(uint32_t){ 0 }, 4);
	process_return_space(process);
	file_table_put(process->files);
	process->files = NULL;
	orphan_children(process);
	process->wait_status = wait_status;
	process->user_ns = process_ran_ns(process);
	process->minor_faults = process->space->minor_faults;
	cr3_write((uint64_t)boot_pml4 - IMAGE_BASE);
	space_put(process->space);
	process->space = NULL;
	process->state = PROCESS_ZOMBIE;
	signal_send(process->parent, SIGCHLD);
	process_wake(process->parent);
	schedule();
	panic("process %d came back from its end", process->pid);
}

void process_out_of_memory(uint64_t address)
{
	struct process *process = current();

	if (process->signals.pending & signal_bit(SIGKILL))
		return;
	log_line(QUIRE_LEVEL_ERROR,
		 "%s (process %d) killed by SIGKILL: out of memory at address %016lx, %lu of %lu "
		 "pages free",
		 process->name, process->pid, address, page_free_total, page_total);
	signal_send(process, SIGKILL);
}

void process_reap(struct process *zombie)
{
	struct process **link = &process_list;

	while (*link != zombie)
		link = &(*link)->next;
	*link = zombie->next;
	zombie->parent->children_ns += zombie->user_ns + zombie->children_ns;
	stack_destroy(zombie);
	memory_free(zombie->vector_state);
	memory_free(zombie);
}

uint64_t process_ran_ns(const struct process *process)
{
	return clock_now() - process->started - process->waited_ns;
}

struct process *process_find(int pid)
{
	struct process *process = process_list;

	while (process && process->pid != pid)
		process = process->next;
	return process;
}

unsigned process_count(void)
{
	unsigned count = 0;

	for (struct process *process = process_list; process; process = process->next)
		count++;
	return count;
}
