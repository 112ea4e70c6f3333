/* /proc. proc.c has its tree; the text of each file comes from the code that knows the facts. */
#ifndef GUEST_PROC_PROC_H
#define GUEST_PROC_PROC_H

struct file;
struct node;
struct process;

/* Adds it to the tree. */
void proc_init(void);

/* The process's directory goes, if somebody has looked at it. */
void proc_forget(struct process *process);

/* The open file behind a link of /proc/PID/fd, no reference taken; NULL where `link` is none, or
 * leads to nothing. */
struct file *proc_open_file(const struct node *link);

#endif
