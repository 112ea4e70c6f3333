/* Guests that tests look at and steer from outside, over their control socket. */
#ifndef TESTS_VM_GUESTS_H
#define TESTS_VM_GUESTS_H

#include <jansson.h>

#include "tests/vm/harness.h"

#define WORDS(...) ((const char *const[]){ __VA_ARGS__, NULL })
#define NO_WORDS   ((const char *const[]){ NULL })

const char *socket_path(void);
int connect_socket(void);

/* bifold run --control SOCKET OPTION... -- PROGRAM ARGUMENT..., each ending with NULL; the program,
 * one of tests/vm/programs, has said that. */
struct child *start_guest(const char *const *options, const char *const *program, const char *says);

/* The same, for one of guest/programs. */
struct child *start_program(const char *const *options, const char *const *program,
			    const char *says);

/* 16 MiB of data in the guest, which end_hold() has it check. options as above. */
struct child *start_hold(const char *const *options);
void end_hold(struct child *guest);

/* Ends it by SIGTERM, and sees that it goes in order. */
void end_guest(struct child *guest);
/* It has gone, with this status, and its socket with it. */
void expect_end(struct child *guest, int status);

/* bifold COMMAND SOCKET: succeeds, or exits with this status and says that. */
void steer(const char *command);
void steer_fails(const char *command, int status, const char *says);

/* bifold stat --json SOCKET: a new reference. And one number of it, "faults.swap". */
json_t *stat_json(void);
int64_t stat_number(const char *path);

#endif
