/* The files of /proc/PID, in Linux's words. A zombie's have little to say. */
#ifndef GUEST_PROC_STATUS_H
#define GUEST_PROC_STATUS_H

#include "guest/memory/user.h"

struct process;
struct text;

void process_cmdline_text(struct process *process, struct text *text);
void process_comm_text(struct process *process, struct text *text);
void process_environ_text(struct process *process, struct text *text);
void process_maps_text(struct process *process, struct text *text);
void process_oom_adjust_text(struct process *process, struct text *text);
void process_oom_score_text(struct process *process, struct text *text);
void process_rollup_text(struct process *process, struct text *text);
void process_smaps_text(struct process *process, struct text *text);
void process_stat_text(struct process *process, struct text *text);
void process_statm_text(struct process *process, struct text *text);
void process_status_text(struct process *process, struct text *text);

/* pagemap, with offsets and lengths in whole entries of 8 bytes. As a file's read. */
int64_t process_pagemap_read(const struct process *process, const struct io_vector *vector,
			     unsigned count, uint64_t *offset);

/* A write to the file: 0 or -EINVAL. */
int process_comm_store(struct process *process, const char *words);
int process_oom_adjust_store(struct process *process, const char *words);

#endif
