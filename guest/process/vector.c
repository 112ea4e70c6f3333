/*
 * Vector state by XSAVE where ring 0 has it; where ring 0 is emulated by the monitor; else by
 * FXSAVE, which leaves the upper halves of the AVX registers alone.
 *
 * A thread has a state from its first vector instruction on, which traps: CR0.TS is set while a
 * thread without one runs. Where ring 0 is emulated ring 3 knows no TS, and every thread has one.
 *
 * A request to the monitor is an exit of the guest. So a switch makes one, which saves and loads,
 * and none where the registers still hold what the next thread needs. A thread that may go on on
 * another CPU is saved before this one sleeps.
 */
#include "guest/process/vector.h"
#include "guest/lib/asm.h"
#include "guest/lib/count.h"
#include "guest/lib/errno.h"
#include "guest/lib/string.h"
#include "guest/memory/page.h"
#include "guest/memory/slab.h"
#include "guest/monitor/doorbell.h"
#include "guest/process/process.h"

#define FXSAVE_SIZE   512
#define HEADER_AT     512
#define HEADER_SIZE   64
#define MXCSR_AT      24
#define MXCSR_MASK    0xffff
#define MXCSR_DEFAULT 0x1f80
#define FCW_DEFAULT   0x37f
#define X87_AND_SSE   3

uint32_t vector_size = FXSAVE_SIZE;
static bool use_xsave;
bool vector_by_monitor;
static uint32_t allocated = FXSAVE_SIZE;

/* Of XSAVE's standard form, up to the last component that is used: CPUID may be another
 * processor's, whose XCR0 is not ours. */
static uint32_t size_of_state(void)
{
	uint32_t size = VECTOR_LEAST;

	for (unsigned component = 2; component < 64; component++) {
		struct cpuid_result leaf;

		if (!(cpu_features.xcr0 >> component & 1))
			continue;
		leaf = cpuid(0xd, component);
		size = MAX(size, leaf.ebx + leaf.eax);
	}
	return size;
}

void vector_init(void)
{
	/* x87 and SSE alone are FXSAVE's. */
	bool more = cpu_features.xcr0 & ~(uint64_t)X87_AND_SSE;

	vector_by_monitor =
		cpu_features.vector_by_monitor && more && size_of_state() <= QUIRE_VECTOR_MAX;
	use_xsave = !cpu_features.emulated && more;
	if (use_xsave || vector_by_monitor)
		vector_size = size_of_state();
	for (unsigned i = 0; i < CPU_MAX; i++)
		cpus[i].vector_bell = doorbell_vector_init(&cpus[i].vector_request, vector_size);
	allocated = ROUND_UP(vector_size, VECTOR_ALIGN);
	/* A power of two from the slab is aligned to its size, up to a page. */
	while (allocated & (allocated - 1))
		allocated += allocated & -allocated;
}

uint32_t vector_length(const void *state)
{
	const uint64_t *header = (const uint64_t *)((const uint8_t *)state + HEADER_AT);

	return vector_by_monitor && !(*header & ~(uint64_t)X87_AND_SSE) ? VECTOR_LEAST
									: vector_size;
}

static uint64_t physical(const void *state)
{
	return (uint64_t)state - DIRECT_BASE;
}

/* Of the registers' state, whose thread keeps them. */
static bool exchange(uint64_t save, uint64_t load)
{
	struct cpu *cpu = this_cpu();
	struct quire_request *request = &cpu->vector_request;
	uint64_t owner = request->arg0;
	bool done;

	request->arg0 = save;
	request->arg1 = load;
	done = doorbell_vector(request, cpu->vector_bell);
	request->arg0 = owner;
	return done;
}

static void store(void *state)
{
	if (use_xsave)
		__asm__ volatile("xsave64 (%0)"
				 :
				 : "r"(state), "a"((uint32_t)cpu_features.xcr0), "d"(0)
				 : "memory");
	else if (vector_by_monitor)
		exchange(physical(state), 0);
	else
		__asm__ volatile("fxsave64 (%0)" : : "r"(state) : "memory");
}

static bool load(const void *state)
{
	if (vector_by_monitor)
		return exchange(0, physical(state));
	if (use_xsave)
		__asm__ volatile("xrstor64 (%0)"
				 :
				 : "r"(state), "a"((uint32_t)cpu_features.xcr0), "d"(0)
				 : "memory");
	else
		__asm__ volatile("fxrstor64 (%0)" : : "r"(state) : "memory");
	return true;
}

static void set_default(uint8_t *state)
{
	/* Its header says that nothing else counts. */
	memset(state, 0, MIN(vector_size, VECTOR_LEAST));
	*(uint16_t *)state = FCW_DEFAULT;
	*(uint32_t *)(state + MXCSR_AT) = MXCSR_DEFAULT;
	/* Where the monitor's host has no XSAVES, KVM_SET_XSAVE takes MXCSR only with SSE's bit. */
	if (vector_by_monitor)
		*(uint64_t *)(state + HEADER_AT) = X87_AND_SSE;
}

/* Whether this CPU's next vector instruction traps. */
static void set_trap(bool on)
{
	uint64_t cr0;

	if (cpu_features.emulated)
		return;
	cr0 = cr0_read();
	if (on != !!(cr0 & CR0_TS))
		cr0_write(cr0 ^ CR0_TS);
}

/* Programs see it. XSAVE leaves gaps, and of the header all but its first word, and FXSAVE its last
 * 96 bytes; the monitor writes all that vector_length() tells. */
void *vector_buffer(void)
{
	return vector_by_monitor ? memory_alloc(allocated) : memory_alloc_zero(allocated);
}

static int create(struct thread *thread)
{
	thread->vector_state = memory_alloc(allocated);
	if (!thread->vector_state)
		return -ENOMEM;
	thread->vector_physical = physical(thread->vector_state);
	set_default(thread->vector_state);
	return 0;
}

void vector_save(struct thread *thread)
{
	if (thread->vector_state)
		store(thread->vector_state);
}

/* One that may go on on another CPU is saved; on the only one it stays in the registers. */
void vector_leave(struct thread *thread)
{
	struct quire_request *request = &this_cpu()->vector_request;

	if (!thread->space || thread->state == THREAD_DEAD)
		return;
	if (!vector_by_monitor) {
		vector_save(thread);
	} else if (cpu_count > 1) {
		store(thread->vector_state);
		request->arg0 = 0;
	}
}

void vector_load(struct thread *thread)
{
	if (vector_by_monitor) {
		vector_exchange(this_cpu(), thread);
		return;
	}
	set_trap(!thread->vector_state);
	if (thread->vector_state)
		load(thread->vector_state);
}

bool vector_first_use(void)
{
	if (!current()->vector_state && create(current()))
		return false;
	vm_count.vector_first_use++;
	vector_load(current());
	return true;
}

void vector_store(void *state)
{
	if (current()->vector_state)
		store(state);
	else
		set_default(state);
}

int vector_restore(void *state)
{
	uint8_t *bytes = state;

	if (!current()->vector_state && !vector_first_use())
		return -ENOMEM;
	*(uint32_t *)(bytes + MXCSR_AT) &= MXCSR_MASK;
	if (use_xsave || vector_by_monitor) {
		uint64_t *header = (uint64_t *)(bytes + HEADER_AT);

		header[0] &= cpu_features.xcr0;
		memset(header + 1, 0, HEADER_SIZE - 8);
	}
	return load(state) ? 0 : -EINVAL;
}

int vector_prepare(struct thread *thread)
{
	return cpu_features.emulated && !thread->vector_state ? create(thread) : 0;
}

int vector_copy(struct thread *child)
{
	if (!current()->vector_state)
		return vector_prepare(child);
	child->vector_state = memory_alloc(allocated);
	if (!child->vector_state)
		return -ENOMEM;
	child->vector_physical = physical(child->vector_state);
	if (use_xsave)
		memset(child->vector_state + HEADER_AT, 0, HEADER_SIZE);
	store(child->vector_state);
	return 0;
}

void vector_reset(void)
{
	struct thread *thread = current();

	if (cpu_features.emulated)
		set_default(thread->vector_state);
	else
		vector_free(thread);
	this_cpu()->vector_request.arg0 = 0; /* what the registers hold is the program's before */
	vector_load(thread);
}

void vector_free(struct thread *thread)
{
	for (unsigned i = 0; i < cpu_count; i++) {
		if (cpus[i].vector_request.arg0 == thread->vector_physical)
			cpus[i].vector_request.arg0 = 0;
	}
	memory_free(thread->vector_state);
	thread->vector_state = NULL;
}
