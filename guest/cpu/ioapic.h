/*
 * The I/O APIC: the lines of devices. Each line that is routed raises one vector on the first CPU,
 * at its rising edge.
 */
#ifndef GUEST_CPU_IOAPIC_H
#define GUEST_CPU_IOAPIC_H

#include "guest/lib/types.h"

#define IOAPIC_PHYSICAL 0xfec00000

/* Finds it at `mapped`, where the page at IOAPIC_PHYSICAL is (NULL: nowhere), all lines masked as
 * they were. Returns how many lines it has; 0: there is none. */
unsigned ioapic_init(volatile uint32_t *mapped);

/* From now on the line, below what ioapic_init() said, raises the vector; and no more. */
void ioapic_route(unsigned line, unsigned vector);
void ioapic_mask(unsigned line);

#endif
