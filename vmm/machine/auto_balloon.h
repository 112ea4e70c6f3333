/*
 * --auto-balloon: gives pilot/autoballoon.h, once a second and on the devices' loop, a sample of
 * the memory of the guest, the manager and the host, and sets the balloon's target to its answer.
 */
#ifndef VMM_MACHINE_AUTO_BALLOON_H
#define VMM_MACHINE_AUTO_BALLOON_H

#include <stdint.h>

struct auto_balloon;
struct devices;

/* For devices that have a balloon. 0 or -errno. */
int auto_balloon_create(struct devices *devices, struct auto_balloon **pilot);
/* Takes NULL. The loop must not run any more. */
void auto_balloon_destroy(struct auto_balloon *pilot);

/* Somebody has set the target by hand: goes on from there. From any thread. */
void auto_balloon_set(struct auto_balloon *pilot, uint32_t pages);

/* Why the target is what it is: a sentence. From any thread. */
const char *auto_balloon_reason(struct auto_balloon *pilot);

#endif
