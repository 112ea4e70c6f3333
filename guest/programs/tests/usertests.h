/* The tests of `usertests`. Each runs in a process of its own; what it leaves behind is a leak. */
#ifndef GUEST_PROGRAMS_TESTS_USERTESTS_H
#define GUEST_PROGRAMS_TESTS_USERTESTS_H

#include "guest/programs/runtime/tasks.h"

struct user_test {
	const char *name;
	void (*run)(void); /* says what is wrong by expect() */
};

/* Each ends with an entry without a name. */
extern const struct user_test process_tests[], exec_tests[], signal_tests[], memory_tests[],
	file_tests[], lock_tests[];

/* The program's own path, for exec. */
extern const char *self;

/* This program in place of the current one: it ends with 42. */
void exec_echo(void);

/* The program "usertests --sum SUM STRING...": 45 when its strings and its environment have the
 * sum. */
int exec_sum(const char *const *argv);

/* An address of the kernel's. */
#define KERNEL 0xffffffff80200000

/* Zeroed words that forks share. */
volatile uint32_t *shared_words(void);

#endif
