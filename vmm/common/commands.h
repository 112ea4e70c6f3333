/* The subcommands. argv[0] is the subcommand's name; the return value is the exit status. */
#ifndef VMM_COMMON_COMMANDS_H
#define VMM_COMMON_COMMANDS_H

/* Exit statuses. The help of each command says which it has, and what more. */
#define STATUS_NO      1 /* the answer is no, or there is none: the guest cannot be asked */
#define STATUS_REFUSED 2
#define STATUS_FAILED  125 /* on our side */
#define STATUS_USAGE   125

int command_run(int argc, char **argv);
int command_doctor(int argc, char **argv);
int command_translate(int argc, char **argv);
int command_stat(int argc, char **argv);
int command_top(int argc, char **argv);
int command_budget(int argc, char **argv);
int command_pause(int argc, char **argv);
int command_resume(int argc, char **argv);
int command_balloon(int argc, char **argv);
int command_quit(int argc, char **argv);
int command_maps(int argc, char **argv);
int command_bench(int argc, char **argv);

#endif
