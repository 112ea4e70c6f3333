/*
 * Vector state by XSAVE where ring 0 has it, else by FXSAVE, which leaves the upper halves of the
 * AVX registers alone.
 */
#include "guest/cpu/vector.h"
#include "guest/cpu/asm.h"
#include "guest/lib/errno.h"
#include "guest/lib/string.h"
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

void vector_store(void *state)
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

void vector_restore(void *state)
{
	uint8_t *bytes = state;

	*(uint32_t *)(bytes + MXCSR_AT) &= MXCSR_MASK;
	if (use_xsave) {
		uint64_t *header = (uint64_t *)(bytes + HEADER_AT);

		header[0] &= cpu_features.xcr0;
		memset(header + 1, 0, HEADER_SIZE - 8);
	}
	load(state);
}

static void set_default(uint8_t *state)
{
	memset(state, 0, allocated);
	*(uint16_t *)state = FCW_DEFAULT;
	*(uint32_t *)(state + MXCSR_AT) = MXCSR_DEFAULT;
}

void vector_save(struct thread *thread)
{
	vector_store(thread->vector_state);
}

void vector_load(struct thread *thread)
{
	load(thread->vector_state);
}

int vector_create(struct thread *thread)
{
	thread->vector_state = memory_alloc(allocated);
	if (!thread->vector_state)
		return -ENOMEM;
	set_default(thread->vector_state);
	return 0;
}

int vector_copy(struct thread *child)
{
	child->vector_state = memory_alloc(allocated);
	if (!child->vector_state)
		return -ENOMEM;
	if (use_xsave)
		memset(child->vector_state + HEADER_AT, 0, HEADER_SIZE);
	vector_store(child->vector_state);
	return 0;
}

void vector_reset(void)
{
	set_default(current()->vector_state);
	load(current()->vector_state);
}

void vector_free(struct thread *thread)
{
	memory_free(thread->vector_state);
	thread->vector_state = NULL;
}
