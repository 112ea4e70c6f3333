/*
 * The places of a machine's devices: the ACPI tables tell them to Linux and the command line tells
 * them to quire, and the buses are filled by them.
 *
 * Guest-physical addresses: RAM from 0 to at most 3 GiB, devices in the hole above, RAM again from
 * 4 GiB (ept/space.h).
 */
#ifndef VMM_BOOT_PLATFORM_H
#define VMM_BOOT_PLATFORM_H

/* The virtio devices: one after the other, each with a page of registers and an edge-triggered line
 * of the I/O APIC. */
#define PLATFORM_VIRTIO_BASE  0xd0000000ul
#define PLATFORM_VIRTIO_BYTES 0x1000ul
#define PLATFORM_VIRTIO_GSI   5u
#define PLATFORM_VIRTIO_MAX   16u

#define PLATFORM_IOAPIC 0xfec00000ul /* KVM's, with lines 0..23 */
#define PLATFORM_LAPIC	0xfee00000ul

/* I/O ports. */
#define PLATFORM_SERIAL	     0x3f8
#define PLATFORM_SERIAL_GSI  4u
#define PLATFORM_POWER	     0x600 /* ACPI's sleep control, sleep status and reset registers */
#define PLATFORM_POWER_COUNT 3
#define PLATFORM_PM_TIMER    0x608 /* ACPI's timer: devices/pm_timer.h */
#define PLATFORM_PCI	     0xcf8 /* the configuration ports of a PC's bus, which is empty */
#define PLATFORM_KEYBOARD    0x64  /* its controller's command, which resets the machine */
#define PLATFORM_RESET_VALUE 1u
#define PLATFORM_SLEEP_S5    5u /* SLP_TYP of \_S5 */

#endif
