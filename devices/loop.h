/*
 * The devices' event loop: one thread that waits for descriptors and calls the functions that watch
 * them. Everything a device does for the guest beyond a register access runs on it, so a kick does
 * not hold a vCPU.
 */
#ifndef DEVICES_LOOP_H
#define DEVICES_LOOP_H

#include <stdint.h>

struct loop;

/* On the loop's thread, with no lock held. events: EPOLLIN and the like, as in epoll(7). */
typedef void loop_ready(void *context, uint32_t events);

/* 0 or -errno. */
int loop_create(struct loop **loop);
/* Takes NULL. After loop_run() has returned. Descriptors that are still watched are forgotten. */
void loop_destroy(struct loop *loop);

/*
 * Watches fd, which stays the caller's, level-triggered; events 0: not for now. From any thread,
 * once for a descriptor. 0 or -errno; -EPERM: a regular file, which is always ready and cannot be
 * watched.
 */
int loop_add(struct loop *loop, int fd, uint32_t events, loop_ready *ready, void *context);
/* Other events for a watched fd; 0: none for now, not even an error or a hang-up. From any thread;
 * a call that is on its way already may still come. */
void loop_change(struct loop *loop, int fd, uint32_t events);
/* When it returns, ready is not running and will not be called again (unless it is ready itself
 * that calls this). fd may be closed then. Not with a lock held that ready takes. */
void loop_remove(struct loop *loop, int fd);

/*
 * Serves until loop_stop(), which any thread may call, also before. 0, or -errno: of waiting, or
 * the error given to loop_fail(), for a refusal of the host that stops somebody's work. Any thread
 * may call loop_fail(), too, with any lock held.
 */
int loop_run(struct loop *loop);
void loop_stop(struct loop *loop);
void loop_fail(struct loop *loop, int error);

/* One round: waits at most timeout_ms (-1: without end) and calls the functions of ready
 * descriptors. Returns how many calls that made, or -errno. */
int loop_serve(struct loop *loop, int timeout_ms);

#endif
