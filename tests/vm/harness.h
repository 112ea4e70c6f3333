/*
 * Running bifold (and other programs) from tests: a child with pipes, what it wrote, how it ended.
 *
 * Everything a test makes lies in its scratch folder and in its children; harness_finish(), the
 * suites' .fini, kills and removes what is left, also after a failed assertion.
 */
#ifndef TESTS_VM_HARNESS_H
#define TESTS_VM_HARNESS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct child {
	pid_t pid;
	int in, out, err;	   /* our ends; -1: closed or not ours */
	char *out_text, *err_text; /* what came so far, NUL-terminated */
	size_t out_size, err_size;
	bool changed_world; /* by prepare() */
	char *cage;	    /* around a run with a budget: cage.h */
	int status;	    /* after child_finish(): exit status, or 128 + signal */
};

void harness_init(void);
void harness_finish(void);

/* Ends and forgets the children so far, for tests that start many. */
void harness_forget(void);

/* Skips the test, with the reason, where KVM cannot be opened. */
void need_kvm(void);

/* KVM has no part of the processor's, and runs ring 0 an instruction at a time. */
bool ring0_is_emulated(void);

/* Of random tests: BIFOLD_SEED, or one from the clock. Says it on standard error. */
const char *harness_seed(const char *name);

/* Paths: of the scratch folder, the program under test, busybox, and a guest program. */
const char *scratch_path(const char *name);
const char *bifold_path(void);
const char *busybox_path(void);
const char *guest_program(const char *name); /* built from guest/programs */
const char *guest_kernel(void);
const char *test_program(const char *name); /* built from tests/vm/programs */
const char *linux_file(const char *name);   /* "vmlinuz", "initrd", "disk.img": linux_guest.h */

/*
 * Start argv, a run with a budget inside its cage. prepare (or NULL) runs in the child before exec,
 * to change its world; a non-zero answer ends the child with status 77. arguments after "bifold"
 * for start_bifold().
 */
typedef int prepare_fn(void);
struct child *child_start(const char *const *argv, prepare_fn *prepare);

/* Feed input (NULL: none) and close; collect until both outputs end; reap. */
void child_finish(struct child *child, const void *input, size_t input_size);

/* Read until text stands in the standard output (err: in standard error). Fails the test at its
 * end. */
void child_wait_for(struct child *child, bool err, const char *text);
void child_send(struct child *child, const char *text);

/* Ends this one, if it runs, and frees it. */
void child_forget(struct child *child);

/* Start and finish. The words after the first are arguments; ends with NULL. */
struct child *run_words(prepare_fn *prepare, const char *input, const char *word, ...)
	__attribute__((sentinel));
#define run_bifold(...) run_words(NULL, NULL, bifold_path(), "run", __VA_ARGS__, NULL)
#define run_bifold_in(prepare, ...)                                                                \
	run_words(prepare, NULL, bifold_path(), "run", __VA_ARGS__, NULL)

/* The file's whole content; NULL if it cannot be read. */
char *read_file(const char *path, size_t *size);
void write_file(const char *path, const void *data, size_t size);

/* A number of the JSON report by its path: "faults.pool". Fails the test if it is not there. */
int64_t report_number(const char *path, const char *field);
json_t *report_load(const char *path);

/* How many entries the folder has. */
int folder_count(const char *path);

#endif
