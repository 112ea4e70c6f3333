/*
 * The layout of quire's address space, for C, assembly and the linker script alike.
 *
 *   0x0000000000001000 .. USER_END        the process
 *   DIRECT_BASE + physical address        all RAM, writable, never executable
 *   VMAP_BASE ..                          kernel stacks with guard pages, device registers
 *   IMAGE_BASE + physical address         the kernel's own image
 *
 * The image's text, read-only data and data begin at fixed offsets, so that its page table is a
 * constant of the build (boot.S): the kernel runs under W^X from its first instruction on, and
 * booting writes no page table for it. The linker script checks that each part fits.
 */
#ifndef GUEST_LIB_LAYOUT_H
#define GUEST_LIB_LAYOUT_H

#define PAGE_SHIFT 12
#ifdef __ASSEMBLER__
#define PAGE_SIZE 4096
#else
#define PAGE_SIZE 4096ul
#endif

#define IMAGE_BASE 0xffffffff80000000
#define IMAGE_PHYS 0x200000

/* Physical, below 1 MiB: where other CPUs begin, in real mode. The loader puts nothing there. */
#define TRAMPOLINE 0x7000

#define IMAGE_TEXT_PAGES   96
#define IMAGE_RODATA_PAGES 32
#define IMAGE_PAGES	   512

#define DIRECT_BASE	  0xffff800000000000
#define DIRECT_SLOT	  256
#define DIRECT_SLOTS	  3 /* of 512 GiB each: 1 TiB and the hole below 4 GiB */
#define DIRECT_SLOT_SHIFT 39
#define VMAP_BASE	  0xffffc90000000000
#define VMAP_SLOT	  402
#define IMAGE_SLOT	  511

/* The last canonical page of the lower half stays empty: a SYSCALL there would leave a return
 * address that is not canonical. */
#define USER_END 0x7ffffffff000

/* Linux's numbers. */
#define SELECTOR_KERNEL_CODE 0x10
#define SELECTOR_KERNEL_DATA 0x18
#define SELECTOR_USER_CODE32 0x23
#define SELECTOR_USER_DATA   0x2b
#define SELECTOR_USER_CODE   0x33
#define SELECTOR_TSS	     0x40
#define SELECTOR_LDT	     0x50
#define GDT_ENTRIES	     12

#ifndef __ASSEMBLER__
#include "guest/lib/types.h"

/* Where the kernel finds physical memory. */
static inline void *direct(uint64_t physical)
{
	return (void *)(DIRECT_BASE + physical);
}
#endif

#endif
