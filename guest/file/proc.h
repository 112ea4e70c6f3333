/* /proc's view of the current process. */
#ifndef GUEST_FILE_PROC_H
#define GUEST_FILE_PROC_H

struct node;

/* The current process runs this file: /proc/self/exe. */
void proc_set_executable(const struct node *executable);

#endif
