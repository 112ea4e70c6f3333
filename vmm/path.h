/* Names of files. */
#ifndef VMM_PATH_H
#define VMM_PATH_H

/*
 * path from the root, with ".", ".." and double slashes folded and links left as they are named.
 * The caller frees it. NULL: no memory, or no current folder.
 */
char *path_absolute(const char *path);

/* Where large temporary files go: $TMPDIR, or /var/tmp. */
const char *path_temporary(void);

#endif
