/* What /proc/PID says of a process, in Linux's words. Of a zombie there is little to say. */
#ifndef GUEST_PROCESS_STATUS_H
#define GUEST_PROCESS_STATUS_H

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

/* What a write does: 0 or -EINVAL. */
int process_comm_store(struct process *process, const char *words);
int process_oom_adjust_store(struct process *process, const char *words);

#endif
