/*
 * The scheduler: one queue of ready threads for all CPUs, first come first served, a time slice
 * while others wait. A CPU with nothing to run runs its idle thread, which lets go of the kernel
 * lock and sleeps.
 *
 * Waiting: a thread is on the list of its channel's hash until it is woken, its time comes or a
 * signal does. Nothing can be missed between a condition's test and the wait: the kernel lock is
 * held from one to the other.
 *
 * The timer of a CPU is set for the end of a slice only when it is not set yet, and it may find
 * nothing to do: so a switch does not touch the clock.
 */
#include "guest/cpu/clock.h"
#include "guest/cpu/tlb.h"
#include "guest/lib/asm.h"
#include "guest/memory/flush.h"
#include "guest/monitor/doorbell.h"
#include "guest/process/hooks.h"
#include "guest/process/load.h"
#include "guest/process/process.h"
#include "guest/process/sample.h"
#include "guest/process/segment.h"
#include "guest/process/vector.h"

#define SLICE_NS     10000000ull
#define BUCKET_COUNT 64

/* entry.S */
void switch_stack(uint64_t *old, uint64_t new);
void idle_first_return(void);

const char console_input;
uint64_t switch_count;
static struct thread *ready_first, *ready_last;
static struct thread *waiting[BUCKET_COUNT];
static uint32_t sleeping;   /* CPUs, as bits, that nobody has woken yet */
static struct thread *dead; /* off its stack as soon as the switch is done */

static struct thread **bucket_of(const void *channel)
{
	return &waiting[((uint64_t)channel >> 4 ^ (uint64_t)channel >> 10) % BUCKET_COUNT];
}

static void ready_add(struct thread *thread)
{
	thread->state = THREAD_READY;
	thread->queue = NULL;
	if (ready_first)
		ready_last->queue = thread;
	else
		ready_first = thread;
	ready_last = thread;
}

static bool may_run_on(const struct thread *thread, const struct cpu *cpu)
{
	return thread->affinity >> cpu->number & 1;
}

/* The first that may run on this CPU, or NULL; and the one before it. */
static struct thread *ready_find(struct thread **before)
{
	const struct cpu *cpu = this_cpu();
	struct thread *thread = ready_first;

	*before = NULL;
	while (thread && unlikely(!may_run_on(thread, cpu))) {
		*before = thread;
		thread = thread->queue;
	}
	return thread;
}

static struct thread *ready_peek(void)
{
	struct thread *before;

	return ready_find(&before);
}

static inline struct thread *ready_take(void)
{
	struct thread *before, *thread = ready_find(&before);

	if (!thread)
		return NULL;
	if (before)
		before->queue = thread->queue;
	else
		ready_first = thread->queue;
	if (ready_last == thread)
		ready_last = before;
	return thread;
}

void thread_hurry(struct thread *thread)
{
	struct thread **link = &ready_first, *previous = NULL;

	if (thread->state != THREAD_READY || thread == ready_first)
		return;
	while (*link != thread) {
		previous = *link;
		link = &previous->queue;
	}
	*link = thread->queue;
	if (ready_last == thread)
		ready_last = previous;
	thread->queue = ready_first;
	ready_first = thread;
}

/* now: of clock_now(); the TSC is `ticks`. */
static void sample_begin(uint64_t now, uint64_t ticks)
{
	uint64_t wait = sample_next(ticks);

	this_cpu()->sample_alarm = now + wait;
	timer_alarm_in(now, wait);
}

static void slice_begin(void)
{
	struct cpu *cpu = this_cpu();

	if (cpu->slicing)
		return;
	cpu->slicing = true;
	timer_alarm(clock_now() + SLICE_NS);
}

/* It is ready: has a CPU that sleeps run it, or the one that it must run on. False: it is this
 * CPU's to run. */
static bool ready_send(const struct thread *thread)
{
	uint32_t able = sleeping & thread->affinity;

	if (able) {
		unsigned number = __builtin_ctz(able);

		sleeping &= ~(1u << number);
		smp_interrupt(&cpus[number], VECTOR_RESCHEDULE);
		return true;
	}
	if (likely(may_run_on(thread, this_cpu())))
		return false;
	smp_interrupt(&cpus[__builtin_ctzll(thread->affinity)], VECTOR_RESCHEDULE);
	return true;
}

static void ready_announce(const struct thread *thread)
{
	if (!ready_send(thread) && current() != this_cpu()->idle)
		slice_begin();
}

/* Behind the timer's interrupt. */
static void samples_go_on(uint64_t now)
{
	struct cpu *cpu = this_cpu();

	if (cpu->current == cpu->idle)
		cpu->sample_due = 0;
	else if (cpu->sample_due)
		timer_alarm(cpu->sample_alarm);
	else
		sample_begin(now, rdtsc());
}

static void timer_rang(void)
{
	uint64_t now = clock_now();

	this_cpu()->slicing = false;
	timers_expire(now);
	samples_go_on(now);
}

void events_handle(void)
{
	struct cpu *cpu = this_cpu();
	uint32_t events = __atomic_exchange_n(&cpu->events, 0, __ATOMIC_SEQ_CST);

	if (events & EVENT_INPUT)
		thread_wake(&console_input);
	if (unlikely(events >= EVENT_DEVICE))
		process_hooks.interrupts(events / EVENT_DEVICE);
	if (events & EVENT_TIMER)
		timer_rang();
	if (cpu->current != cpu->idle && (ready_peek() || !may_run_on(cpu->current, cpu)))
		cpu->work |= WORK_YIELD;
}

static void switch_vector(struct cpu *cpu, struct thread *next, struct thread *old)
{
	if (likely(vector_by_monitor)) {
		vector_exchange(cpu, next);
		return;
	}
	if (old && old->space && old->state != THREAD_DEAD)
		vector_save(old);
	vector_load(next);
}

/* Everything of a thread that the CPU holds. old: that had it, or NULL. */
static void load(struct thread *next, struct thread *old)
{
	struct cpu *cpu = this_cpu();

	cpu->current = next;
	next->state = THREAD_RUNNING;
	next->cpu = cpu;
	space_switch(next->space);
	if (!next->space) {
		vector_leave(old);
		return;
	}
	cpu->faults = &next->faults;
	cpu_set_kernel_stack(next->stack_top);
	cpu->work = signal_waits(next) || next->process->exiting || next->process->stopped
			    ? WORK_SIGNAL
			    : 0;
	msr_write(MSR_FS_BASE, next->fs_base);
	msr_write(MSR_KERNEL_GS_BASE, next->gs_base);
	switch_vector(cpu, next, old);
	if (unlikely(next->process->ldt != cpu->ldt))
		segment_load(next->process->ldt);
}

static void bury(void)
{
	struct thread *thread = dead;

	dead = NULL;
	if (thread)
		thread_destroy(thread);
}

/* The load is to be counted; or a sample is due, or none is under way. */
static NOINLINE void count_time(const struct thread *next, uint64_t now)
{
	const struct cpu *cpu = this_cpu();

	if (now >= load_next)
		load_count(now, cpu->current == cpu->idle);
	if (now < cpu->sample_due)
		return;
	sample_kernel(now);
	if (next != cpu->idle)
		sample_begin(clock_now(), now);
}

static void switch_to(struct thread *next)
{
	struct thread *old = current();
	struct cpu *cpu = this_cpu();
	uint64_t now = rdtsc();

	old->ran += now - cpu->switched;
	cpu->switched = now;
	switch_count++;
	if (unlikely(now >= load_next || now >= cpu->sample_due))
		count_time(next, now);
	load(next, old);
	switch_stack(&old->stack_pointer, next->stack_pointer);
	bury();
}

/* From entry.S: the first switch to a thread arrives here, not behind switch_stack(). */
void thread_first_switch(void);

void thread_first_switch(void)
{
	bury();
}

static void schedule(void)
{
	const struct cpu *cpu = this_cpu();
	struct thread *next = ready_take(), *after;

	/* With a slice under way and no CPU asleep there is nothing to do for those that wait. One
	 * may be sent elsewhere, but another behind it be bound to this CPU. */
	if (unlikely(!next)) {
		next = cpu->idle;
	} else if (unlikely(ready_first && (sleeping || !cpu->slicing) && (after = ready_peek()))) {
		ready_send(after);
		slice_begin();
	}
	if (next != current())
		switch_to(next);
	else
		next->state = THREAD_RUNNING;
}

void thread_yield(void)
{
	struct thread *thread = current();
	bool may_stay = may_run_on(thread, this_cpu());

	if (may_stay && !ready_first)
		return;
	ready_add(thread);
	if (unlikely(!may_stay))
		ready_announce(thread);
	schedule();
}

void thread_set_affinity(struct thread *thread, uint64_t cpu_mask)
{
	thread->affinity = cpu_mask;
	if (thread->state == THREAD_READY)
		ready_announce(thread);
	else if (thread == current())
		thread_yield();
	else if (thread->state == THREAD_RUNNING)
		smp_interrupt(thread->cpu, VECTOR_RESCHEDULE);
}

void thread_end(void)
{
	current()->state = THREAD_DEAD;
	dead = current();
	schedule();
	panic("a dead thread runs");
}

uint64_t idle_create(struct cpu *cpu)
{
	struct thread *idle = thread_create(NULL);
	uint64_t *stack;

	CHECK(idle != NULL);
	stack = (uint64_t *)idle->stack_top - 2;
	*--stack = (uint64_t)idle_first_return;
	for (unsigned i = 0; i < 6; i++)
		*--stack = 0;
	idle->stack_pointer = (uint64_t)stack;
	cpu->idle = idle;
	return idle->stack_top;
}

void idle_run(void)
{
	for (;;) {
		bury();
		events_handle();
		if (ready_peek()) {
			schedule();
			continue;
		}
		timer_alarm_next();
		sleeping |= 1u << this_cpu()->number;
		kernel_lock_give();
		doorbell_wait();
		kernel_lock_take();
		tlb_answer();
		sleeping &= ~(1u << this_cpu()->number);
	}
}

void thread_start(struct thread *first)
{
	struct cpu *cpu = this_cpu();

	idle_create(cpu);
	CHECK(ready_take() == first);
	cpu->switched = cpu->started = rdtsc();
	load(first, NULL);
	sample_begin(clock_now(), cpu->started);
	trap_return(thread_frame(first));
}

static void waiters_remove(struct thread *thread)
{
	if (thread->queue_prev)
		thread->queue_prev->queue = thread->queue;
	else
		*bucket_of(thread->channel) = thread->queue;
	if (thread->queue)
		thread->queue->queue_prev = thread->queue_prev;
	thread->channel = NULL;
}

static void wait_on(const void *channel, uint64_t deadline, enum wait_kind kind)
{
	struct thread *thread = current(), **bucket = bucket_of(channel);

	thread->channel = channel;
	thread->wait_kind = kind;
	thread->state = THREAD_WAITING;
	thread->woken = false;
	thread->queue = *bucket;
	thread->queue_prev = NULL;
	if (*bucket)
		(*bucket)->queue_prev = thread;
	*bucket = thread;
	if (deadline != WAIT_FOREVER)
		timer_set(&thread->sleep, deadline);
	schedule();
}

bool thread_wait(const void *channel, uint64_t deadline)
{
	if (signal_waits(current()) || current_process()->exiting)
		return false;
	/* A wait for nothing but time has a channel that nobody wakes. */
	wait_on(channel ? channel : &current()->channel, deadline, WAIT_SIGNALS);
	return !signal_waits(current()) && !current_process()->exiting;
}

void thread_wait_deaf(const void *channel)
{
	wait_on(channel, WAIT_FOREVER, WAIT_DEAF);
}

void thread_rouse(struct thread *thread)
{
	if (thread->state != THREAD_WAITING)
		return;
	if (thread->channel)
		waiters_remove(thread);
	timer_clear(&thread->sleep);
	ready_add(thread);
	ready_announce(thread);
}

/* The oldest waiters are at the end of the list: they go first. */
unsigned thread_wake_some(const void *channel, unsigned count)
{
	struct thread *thread = *bucket_of(channel), *previous;
	unsigned woken = 0;

	while (thread && thread->queue)
		thread = thread->queue;
	for (; thread && woken < count; thread = previous) {
		previous = thread->queue_prev;
		if (thread->channel != channel)
			continue;
		thread->woken = true;
		thread_rouse(thread);
		woken++;
	}
	return woken;
}

unsigned thread_wake(const void *channel)
{
	return *bucket_of(channel) ? thread_wake_some(channel, UINT32_MAX) : 0;
}

void thread_notify(struct thread *thread, unsigned work)
{
	if (thread->state != THREAD_RUNNING || !thread->cpu)
		return;
	thread->cpu->work |= work;
	if (thread->cpu != this_cpu())
		smp_interrupt(thread->cpu, VECTOR_RESCHEDULE);
}

uint64_t thread_ran(const struct thread *thread)
{
	uint64_t ran = thread->ran;

	if (thread->state == THREAD_RUNNING)
		ran += rdtsc() - thread->cpu->switched;
	return ran;
}
