/*
 * Finds and checks PROGRAM, and refuses it with a reason, before a machine is made for it.
 */
#ifndef VMM_COMMON_PROGRAM_H
#define VMM_COMMON_PROGRAM_H

#define PROGRAM_CANNOT_RUN 126
#define PROGRAM_NOT_FOUND  127

/*
 * Resolve name as a shell would (PATH, unless it holds a slash) and check that it is a static
 * x86-64 ELF. 0 with *path (absolute, the caller frees it), or an exit status of the two above
 * with a line logged.
 */
int program_find(const char *name, char **path);

#endif
