#include "vmm/path.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

char *path_absolute(const char *path)
{
	char folder[PATH_MAX] = "";
	char *whole, *out, *rest;
	size_t used = 0;

	if (*path != '/' && getcwd(folder, sizeof(folder)) == NULL)
		return NULL;
	if (asprintf(&whole, "%s/%s", folder, path) < 0)
		return NULL;
	out = malloc(strlen(whole) + 2);
	rest = whole;
	for (char *part; out != NULL && (part = strsep(&rest, "/")) != NULL;) {
		if (*part == '\0' || strcmp(part, ".") == 0)
			continue;
		if (strcmp(part, "..") == 0) {
			while (used > 0 && out[--used] != '/')
				;
			continue;
		}
		used += (size_t)sprintf(out + used, "/%s", part);
	}
	if (out != NULL)
		out[used] = '\0';
	free(whole);
	return out;
}

const char *path_temporary(void)
{
	const char *folder = getenv("TMPDIR");

	return folder != NULL && *folder != '\0' ? folder : "/var/tmp";
}
