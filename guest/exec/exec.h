/*
 * Running a program: a static ELF file of the root becomes the current process's memory.
 */
#ifndef GUEST_EXEC_EXEC_H
#define GUEST_EXEC_EXEC_H

#include "guest/cpu/trap.h"
#include "guest/memory/space.h"

struct exec_strings;
struct node;
struct process;

/* script.c: while the node is a script ("#!") its interpreter takes its place, and the arguments in
 * front of the script's change with it. 0 or -errno. */
int script_resolve(struct node *from, const char *path, struct node **node,
		   struct exec_strings *strings);

/* elf.c: bytes of a file, which has them, into the kernel. 0 or -ENOMEM. */
int exec_read(struct node *node, uint64_t offset, void *to, uint64_t length);

/* Replaces the memory of `process`, the current one, which has one thread, by the program in
 * `node`, and makes its frame. 0, or -errno and the process is as it was. */
int exec_program(struct process *process, struct node *node, const char *path,
		 struct exec_strings *strings, struct trap_frame *frame);

/* The loader's description of a program: its entry point, and the values for its auxiliary
 * vector. */
struct elf_image {
	uint64_t entry, headers, header_size, header_count;
	uint64_t end; /* of the highest segment: brk begins there, or above */
	bool stack_executable;
};

/* Maps the program's segments into a new space. 0, -ENOEXEC (not a static x86-64 program), -EINVAL
 * (hostile numbers) or -ENOMEM. *why says it in words. */
int elf_load(struct space *space, struct node *node, struct elf_image *image, const char **why);

#endif
