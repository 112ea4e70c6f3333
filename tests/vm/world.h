/* prepare_fn hooks: a child in a changed world. They need root; without it the test is a SKIP. */
#ifndef TESTS_VM_WORLD_H
#define TESTS_VM_WORLD_H

#include <sys/types.h>

int world_of_own_mounts(void);	       /* mounts of its own, which end with it */
int world_without_kvm(void);	       /* an empty /dev but for null */
int world_with_a_file_for_kvm(void);   /* /dev/kvm is a plain file */
int world_without_userfaultfd(void);   /* no /dev/userfaultfd, and no right to the system call */
int world_with_read_only_folder(void); /* WORLD_FOLDER is an empty read-only file system */
int world_with_small_folder(void);     /* WORLD_FOLDER is a file system of WORLD_SMALL_BYTES */
/* Gives that of a process more bytes: "64M". 0 or -1. */
int world_grow_folder(pid_t pid, const char *size);
/* The same, filled up but for a third by WORLD_FILLER. */
int world_with_full_folder(void);

#define WORLD_FILLER	  WORLD_FOLDER "/filler"
#define WORLD_FOLDER	  "/mnt"
#define WORLD_SMALL_BYTES "1536k"

#endif
