/* Disk images for guests, filled as guest/programs/tests/blocks.c fills disks. */
#ifndef TESTS_VM_DISKS_H
#define TESTS_VM_DISKS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define MIB (1ul << 20)

/* An image in the scratch folder, all hole. Its path. */
const char *disk_make(const char *name, off_t size);

/* A word of the seed's in each 8 bytes; and whether they are there: fails the test if not. */
void disk_fill(const char *path, uint64_t seed);
void disk_check(const char *path, uint64_t seed);

/* Blocks of 512 bytes that the host has for it. */
uint64_t disk_blocks(const char *path);

#endif
