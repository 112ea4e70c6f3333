/* The local APIC: each CPU sees its own at the same address. */
#ifndef GUEST_CPU_APIC_H
#define GUEST_CPU_APIC_H

#include "guest/lib/layout.h"
#include "guest/lib/types.h"

#define APIC_PHYSICAL	 0xfee00000
#define APIC_EOI	 0x0b0
#define APIC_SPURIOUS	 0x0f0
#define APIC_ENABLE	 0x100
#define APIC_COMMAND	 0x300
#define APIC_PENDING	 0x1000
#define APIC_TARGET	 0x310
#define APIC_INIT	 0x4500
#define APIC_STARTUP	 0x4600
#define APIC_FIXED	 0x4000
#define APIC_LVT_TIMER	 0x320
#define APIC_LVT_MASKED	 0x10000
#define APIC_INITIAL	 0x380
#define APIC_CURRENT	 0x390
#define APIC_DIVIDE	 0x3e0
#define APIC_DIVIDE_BY_1 0xb

/* boot/main.c maps it there. */
static inline volatile uint32_t *apic(unsigned reg)
{
	return (volatile uint32_t *)(VMAP_BASE + reg);
}

/* A command (APIC_INIT, APIC_STARTUP | page, APIC_FIXED | vector) to the CPU with this number. */
static inline void apic_send(unsigned number, uint32_t command)
{
	while (*apic(APIC_COMMAND) & APIC_PENDING)
		;
	*apic(APIC_TARGET) = number << 24;
	*apic(APIC_COMMAND) = command;
}

/* Ends the interrupt being handled. */
static inline void apic_end(void)
{
	*apic(APIC_EOI) = 0;
}

#endif
