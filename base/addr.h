/*
 * Address kinds, kept apart by the compiler.
 *
 *   gva_t  guest-virtual address, what a program in the guest uses
 *   gpa_t  guest-physical address, what the guest's page tables yield
 *   hva_t  host-virtual address, a pointer's value in the monitor
 *   gfn_t  guest frame number: gpa >> PAGE_SHIFT
 *
 * Each is a struct of one member, so mixing two does not compile. Nothing here checks ranges:
 * that is left to code that knows the size of the guest.
 */
#ifndef BASE_ADDR_H
#define BASE_ADDR_H

#include <stddef.h>
#include <stdint.h>

#define PAGE_SHIFT 12
#define PAGE_SIZE  (1ul << PAGE_SHIFT)
#define PAGE_MASK  (~(PAGE_SIZE - 1))

typedef struct {
	uint64_t v;
} gva_t;

typedef struct {
	uint64_t v;
} gpa_t;

typedef struct {
	uint64_t v;
} hva_t;

typedef struct {
	uint64_t v;
} gfn_t;

static inline gva_t gva(uint64_t v)
{
	return (gva_t){ v };
}

static inline gpa_t gpa(uint64_t v)
{
	return (gpa_t){ v };
}

static inline hva_t hva(uint64_t v)
{
	return (hva_t){ v };
}

static inline gfn_t gfn(uint64_t v)
{
	return (gfn_t){ v };
}

static inline gfn_t gpa_to_gfn(gpa_t a)
{
	return gfn(a.v >> PAGE_SHIFT);
}

static inline gpa_t gfn_to_gpa(gfn_t f)
{
	return gpa(f.v << PAGE_SHIFT);
}

static inline gfn_t gfn_add(gfn_t f, uint64_t count)
{
	return gfn(f.v + count);
}

#endif
