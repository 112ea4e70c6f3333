/*
 * The judge of the budget: a memory cgroup (v1 or v2) around each run that has one, without host
 * swap, limited to the budget, CAGE_BYTES, and CAGE_BYTES_PER_MIB for each MiB of the guest's
 * memory. A monitor that holds more is killed, and its test fails.
 */
#ifndef TESTS_VM_CAGE_H
#define TESTS_VM_CAGE_H

#include <stdbool.h>
#include <sys/types.h>

#define CAGE_BYTES	   (4ull << 20) /* what any program of this kind takes */
#define CAGE_BYTES_PER_MIB 4096ull	/* see HOST_BYTES_PER_MIB in vmm/common/host.h */

/*
 * The cage for this command, owned by the caller; NULL where it runs no guest with a budget, or
 * this host allows no cgroup (cage_obstacle() says why). A cage that cannot be made although the
 * host allows one fails the test.
 */
char *cage_make(const char *const *argv);
const char *cage_obstacle(void);

/* The child's, before it does anything. 0 or -1. */
int cage_enter(const char *cage);

/* The budget was raised from outside: so many more bytes. */
void cage_widen(const char *cage, unsigned long long bytes);

/* The most that it held, in bytes, and whether something in it was killed. */
unsigned long long cage_peak(const char *cage);
bool cage_killed(const char *cage);

/* Empty by now. Frees the string; takes NULL. */
void cage_remove(char *cage);

/* Of processes of this pid namespace that are no more. */
void cage_remove_orphans(void);

#endif
