#include "vmm/common/path.h"

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"

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

char *path_search(const char *name)
{
	const char *path = getenv("PATH");
	char *copy, *rest;
	char *found = NULL;

	if (strchr(name, '/') != NULL)
		return path_absolute(name);
	copy = rest = strdup(path != NULL ? path : "/bin:/usr/bin");
	CHECK(copy != NULL);
	for (char *folder; found == NULL && (folder = strsep(&rest, ":")) != NULL;) {
		char candidate[PATH_MAX];
		struct stat status;

		snprintf(candidate, sizeof(candidate), "%s/%s", *folder ? folder : ".", name);
		if (stat(candidate, &status) == 0 && S_ISREG(status.st_mode) &&
		    access(candidate, X_OK) == 0)
			found = path_absolute(candidate);
	}
	free(copy);
	return found;
}
