/* The 16550 at 0x3f8 and the power-off of a plain PC, for a boot without bifold. */
#ifndef GUEST_MONITOR_SERIAL_H
#define GUEST_MONITOR_SERIAL_H

#include "guest/lib/types.h"
#include "guest/abi.h"

void serial_init(void);
void serial_write(const char *text, size_t length);

/* The same for physical segments, as doorbell_write() takes them. Returns the bytes written. */
int64_t serial_write_segments(const struct quire_segment *segment, unsigned count);

/* Resets the board, which ends an emulator started with -no-reboot. */
void serial_power_off(void);

#endif
