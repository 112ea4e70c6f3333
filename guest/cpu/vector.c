/*
 * Vector state by XSAVE where ring 0 has it, else by FXSAVE, which leaves the upper halves of the
 * AVX registers alone.
 *
 * A thread has a state from its first vector instruction on, which traps: CR0.TS is set while a
 * thread without one runs. Where ring 0 is emulated ring 3 knows no TS, and every thread has one.
 */
#include "guest/cpu/vector.h"
#include "guest/cpu/asm.h"
#include "guest/lib/errno.h"
#include "guest/lib/string.h"
#include "guest/memory/count.h"
#include "guest/memory/slab.h"
#include "guest/process/process.h"

#define FXSAVE_SIZE   512
#define HEADER_AT     512
#define HEADER_SIZE   64
#define MXCSR_AT      24
#define MXCSR_MASK    0xffff
#define MXCSR_DEFAULT 0x1f80
#define FCW_DEFAULT   0x37f

uint32_t vector_size = FXSAVE_SIZE;
static bool use_xsave;
static uint32_t allocated = FXSAVE_SIZE;

void vector_init(void)
{
	/* x87 and SSE alone are FXSAVE's. */
	use_xsave = !cpu_features.emulated && (cpu_features.xcr0 & ~3ull);
	if (use_xsave)
		vector_size = cpuid(0xd, 0).ebx;
	allocated = ROUND_UP(vector_size, VECTOR_ALIGN);
	/* A power of two from the slab is aligned to its size, up to a page. */
	while (allocated & (allocated - 1))
		allocated += allocated & -allocated;
}

static void store(void *state)
{
	if (use_xsave)
		__asm__ volatile("xsave64 (%0)"
				 :
				 : "r"(state), "a"((uint32_t)cpu_features.xcr0), "d"(0)
				 : "memory");
	else
		__asm__ volatile("fxsave64 (%0)" : : "r"(state) : "memory");
}

static void load(const void *state)
{
	if (use_xsave)
		__asm__ volatile("xrstor64 (%0)"
				 :
				 : "r"(state), "a"((uint32_t)cpu_features.xcr0), "d"(0)
				 : "memory");
	else
		__asm__ volatile("fxrstor64 (%0)" : : "r"(state) : "memory");
}

static void set_default(uint8_t *state)
{
	memset(state, 0, vector_size);
	*(uint16_t *)state = FCW_DEFAULT;
	*(uint32_t *)(state + MXCSR_AT) = MXCSR_DEFAULT;
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

static int create(struct thread *thread)
{
	thread->vector_state = memory_alloc(allocated);
	if (!thread->vector_state)
		return -ENOMEM;
	set_default(thread->vector_state);
	return 0;
}

void vector_save(struct thread *thread)
{
	if (thread->vector_state)
		store(thread->vector_state);
}

void vector_load(struct thread *thread)
{
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
	if (use_xsave) {
		uint64_t *header = (uint64_t *)(bytes + HEADER_AT);

		header[0] &= cpu_features.xcr0;
		memset(header + 1, 0, HEADER_SIZE - 8);
	}
	load(state);
	return 0;
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
	vector_load(thread);
}

void vector_free(struct thread *thread)
{
	memory_free(thread->vector_state);
	thread->vector_state = NULL;
}
