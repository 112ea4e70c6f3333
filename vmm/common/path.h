/* Names of files. */
#ifndef VMM_COMMON_PATH_H
#define VMM_COMMON_PATH_H

/*
 * path from the root, with ".", ".." and double slashes folded and links left as they are named.
 * The caller frees it. NULL: no memory, or no current folder.
 */
char *path_absolute(const char *path);

/* The executable file that a shell means by name, absolute. The caller frees it. NULL: there is
 * none. */
char *path_search(const char *name);

/* Where large temporary files go: $TMPDIR, or /var/tmp. */
const char *path_temporary(void);

#endif
