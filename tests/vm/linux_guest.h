/*
 * Stock Debian guests, of what tools/linux-guest made: a kernel, an initrd and a disk with programs
 * of this build, in the folder linux-guest of the build. Where they cannot run the test is a SKIP.
 */
#ifndef LINUX_GUEST_H
#define LINUX_GUEST_H

#include "tests/vm/guests.h"

/* Of the suite's init. */
void need_linux(void);

/*
 * bifold run --control SOCKET OPTION... with this kernel and initrd, 512 MiB and a serial console.
 * The guest runs script (sh; no double quotes), says what its kernel warned of, and switches off. A
 * copy of the disk is its root if on_disk. options end with NULL.
 */
struct child *linux_start(const char *const *options, bool on_disk, const char *script);
/* The same in a world of its own: world.h. */
struct child *linux_start_in(int (*world)(void), const char *const *options, bool on_disk,
			     const char *script);

/* It ends by itself: status 0, of the script too, and not a warning of its kernel's. */
void linux_end(struct child *guest);

#endif
