/*
 * The virtio console (VIRTIO 1.2, section 5.3): /dev/hvc0 and on, byte for byte, with no line
 * discipline. Output is put into a ring and a write is done then; input is buffered as it comes.
 */
#ifndef GUEST_DEVICE_CONSOLE_H
#define GUEST_DEVICE_CONSOLE_H

#include "guest/lib/types.h"

struct node;

/* console=NAME ("hvc0"): the console takes the place of the monitor's streams, for the kernel's
 * log, for /dev/console and /dev/tty, and for init. Returns its node, which stays; NULL where there
 * is none, and nothing is changed. */
struct node *console_choose(const char *name);

#endif
