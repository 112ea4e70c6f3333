/*
 * Scripts: a file that begins with "#!" is run by the program that its first line names. The rest
 * of that line is its first argument, then come the script's path and the script's own arguments
 * but the first. That program may be a script in turn.
 */
#include "guest/exec/exec.h"
#include "guest/exec/strings.h"
#include "guest/file/file.h"
#include "guest/file/permission.h"
#include "guest/lib/errno.h"
#include "guest/lib/string.h"

#define LINE_MAX  256 /* bytes that are looked at, as on Linux */
#define DEPTH_MAX 5

static bool is_space(char c)
{
	return c == ' ' || c == '\t';
}

static int check_node(const struct node *node)
{
	if ((node->mode & MODE_TYPE) != MODE_REGULAR || !permission_allows(node, MAY_EXECUTE))
		return -EACCES;
	return 0;
}

/* Cuts the line into the program's path and its argument, or NULL: 0 or -ENOEXEC. */
static int parse(char *line, char **program, char **argument)
{
	char *at = line + 2, *end = at;

	while (*end && *end != '\n')
		end++;
	/* A path that is cut off is none. */
	if (!*end && end == line + LINE_MAX) {
		for (at = line + 2; is_space(*at); at++)
			;
		while (*at && !is_space(*at))
			at++;
		if (!*at)
			return -ENOEXEC;
		at = line + 2;
	}
	while (end > at && is_space(end[-1]))
		end--;
	*end = 0;
	while (is_space(*at))
		at++;
	*program = at;
	while (*at && !is_space(*at))
		at++;
	if (*at)
		*at++ = 0;
	while (is_space(*at))
		at++;
	*argument = *at ? at : NULL;
	return **program ? 0 : -ENOEXEC;
}

/* 1 and the line when the file is a script. */
static int read_line(struct node *node, char line[LINE_MAX + 1])
{
	uint64_t length = MIN(node->content.size, LINE_MAX);
	int error = exec_read(node, 0, line, length);

	line[length] = 0;
	return error ? error : length > 2 && line[0] == '#' && line[1] == '!';
}

int script_resolve(struct node *from, const char *path, struct node **node,
		   struct exec_strings *strings)
{
	char lines[2][LINE_MAX + 1], *program, *argument;
	int error = check_node(*node);

	/* The path of a script that runs a script is in the line before. */
	for (unsigned depth = 0; !error; depth++) {
		char *line = lines[depth % 2];

		error = read_line(*node, line);
		if (error <= 0)
			return error;
		if (depth == DEPTH_MAX)
			return -ELOOP;
		error = parse(line, &program, &argument);
		if (!error)
			error = exec_strings_replace_first(
				strings, (const char *const[]){ program, argument, path }, 3);
		if (!error)
			error = node_lookup(from, program, true, node);
		if (!error)
			error = check_node(*node);
		path = program;
	}
	return error;
}
