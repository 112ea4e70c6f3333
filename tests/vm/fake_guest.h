/*
 * A control socket without a guest behind it, for what a real one does seldom: it refuses, stands
 * still, has no driver, lies. It answers on the test's own thread of control_create().
 */
#ifndef TESTS_VM_FAKE_GUEST_H
#define TESTS_VM_FAKE_GUEST_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct fake_guest {
	atomic_ullong target, actual; /* the balloon's, in bytes */
	atomic_ullong most;	      /* it gives no more */
	atomic_ullong step;	      /* at each look it gets on by so many bytes */
	atomic_ullong budget;
	atomic_uint looks;
	atomic_bool ready, paused;
};

extern struct fake_guest fake_guest;

/* Serves at socket_path(), with a balloon that is empty, works, and gets on 1 MiB a look. */
void fake_guest_start(void);
void fake_guest_stop(void);

#endif
