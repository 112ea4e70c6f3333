#include "vmm/common/arguments.h"

#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"

#define NAME_MAX_LENGTH 32
#define LINE_END	80

/*
 * How many letters have to be changed, left out, put in or swapped with the next. Of three rows at
 * a time: rows[0] is the last but one, rows[2] the one that is filled.
 */
static unsigned distance(const char *a, const char *b)
{
	unsigned row[3][NAME_MAX_LENGTH + 1];
	size_t length = strlen(b);

	if (length > NAME_MAX_LENGTH || strlen(a) > NAME_MAX_LENGTH)
		return UINT_MAX;
	for (size_t j = 0; j <= length; j++)
		row[1][j] = (unsigned)j;
	for (size_t i = 1; i <= strlen(a); i++) {
		row[2][0] = (unsigned)i;
		for (size_t j = 1; j <= length; j++) {
			unsigned best = row[1][j - 1] + (a[i - 1] != b[j - 1]);

			if (row[1][j] + 1 < best)
				best = row[1][j] + 1;
			if (row[2][j - 1] + 1 < best)
				best = row[2][j - 1] + 1;
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
			    row[0][j - 2] + 1 < best)
				best = row[0][j - 2] + 1;
			row[2][j] = best;
		}
		memcpy(row[0], row[1], sizeof(row[0]));
		memcpy(row[1], row[2], sizeof(row[1]));
	}
	return row[1][length];
}

const char *arguments_nearest(const char *word, const char *const *names, size_t size)
{
	/* A third of it wrong is a slip, more is another word. */
	unsigned least = (unsigned)strlen(word) / 3 + 1;
	const char *nearest = NULL;

	for (; *names != NULL; names = (const char *const *)((const char *)names + size)) {
		unsigned here = distance(word, *names);

		/* Or it is cut short, or goes on. */
		if (here > 1 && strlen(word) >= 3 &&
		    (strncmp(word, *names, strlen(word)) == 0 ||
		     (strlen(*names) >= 3 && strncmp(word, *names, strlen(*names)) == 0)))
			here = 1;
		if (here < least) {
			least = here;
			nearest = *names;
		}
	}
	return nearest;
}

/* getopt's answer for an option that is wrong in itself, told of which. */
static void explain(int answer, char **argv, const struct option *options)
{
	const char *word = argv[optind - 1], *nearest;
	int length = (int)strcspn(word, "=");
	bool is_long = strncmp(word, "--", 2) == 0;
	char name[NAME_MAX_LENGTH + 1] = "";

	if (!is_long) {
		log_error("%s: there is no option '-%c': try 'bifold %s --help'", argv[0], optopt,
			  argv[0]);
		return;
	}
	if (answer == ':') {
		log_error("%s: %s needs a value: try 'bifold %s --help'", argv[0], word, argv[0]);
		return;
	}
	if (optopt != 0) {
		log_error("%s: %.*s takes no value", argv[0], length, word);
		return;
	}
	if (length - 2 <= NAME_MAX_LENGTH)
		snprintf(name, sizeof(name), "%.*s", length - 2, word + 2);
	nearest = arguments_nearest(name, &options->name, sizeof(*options));
	if (nearest != NULL)
		log_error("%s: there is no option '%.*s': did you mean --%s?", argv[0], length,
			  word, nearest);
	else
		log_error("%s: there is no option '%.*s': try 'bifold %s --help'", argv[0], length,
			  word, argv[0]);
}

int arguments_next(int argc, char **argv, const char *shorts, const struct option *options)
{
	char own[NAME_MAX_LENGTH];
	int answer;

	/* ':' tells apart what lacks its value. */
	snprintf(own, sizeof(own), "%s:%s", *shorts == '+' ? "+" : "", shorts + (*shorts == '+'));
	opterr = 0;
	answer = getopt_long(argc, argv, own, options, NULL);
	if (answer != '?' && answer != ':')
		return answer;
	explain(answer, argv, options);
	return '?';
}

int arguments_expect(int argc, char **argv, const char *what)
{
	int needed = *what != '\0', given = argc - optind;

	for (const char *at = what; *at != '\0'; at++)
		needed += *at == ' ';
	if (given == needed)
		return 0;
	if (given > needed && needed == 0)
		log_error("%s takes no words, and there is '%s': try 'bifold %s --help'", argv[0],
			  argv[optind], argv[0]);
	else if (given > needed)
		log_error("%s takes %s, and '%s' is too many: try 'bifold %s --help'", argv[0],
			  what, argv[optind + needed], argv[0]);
	else
		log_error("%s needs %s: try 'bifold %s --help'", argv[0], what, argv[0]);
	return -EINVAL;
}

int arguments_parse(int argc, char **argv, const struct arguments *arguments, void *context)
{
	int option, error = 0;

	optind = 0;
	while (error == 0 && (option = arguments_next(argc, argv, "h", arguments->options)) != -1) {
		if (option == 'h') {
			fputs(arguments->help, stdout);
			return 1;
		}
		error = option == '?' ? -EINVAL : arguments->take(option, optarg, context);
	}
	if (error == 0 && arguments->words != NULL)
		error = arguments_expect(argc, argv, arguments->words);
	return error;
}

void arguments_print_words(FILE *file, const char *text, int column)
{
	int start = column;

	while (*text != '\0') {
		int length = (int)strcspn(text, " ");

		if (column > start && column + 1 + length > LINE_END) {
			fprintf(file, "\n%*s", start, "");
			column = start;
		} else if (column > start) {
			putc(' ', file);
			column++;
		}
		fprintf(file, "%.*s", length, text);
		column += length;
		text += length + (int)strspn(text + length, " ");
	}
	putc('\n', file);
}

FILE *arguments_fit_begin(struct arguments_fit *fit, FILE *file)
{
	*fit = (struct arguments_fit){ .file = file };
	fit->through = open_memstream(&fit->text, &fit->size);
	return fit->through != NULL ? fit->through : file;
}

/* The last space of a line that leaves at most so many columns before it; 0: there is none. */
static size_t break_at(const char *line, size_t length, size_t columns)
{
	size_t indent = strspn(line, " ");

	for (size_t at = columns < length ? columns : length; at > indent; at--)
		if (line[at] == ' ' && line[at - 1] != ' ')
			return at;
	return 0;
}

static void print_fitted(FILE *file, const char *line, size_t length)
{
	size_t deeper = strspn(line, " ") + 4, before = 0, end;

	while (before + length > LINE_END &&
	       (end = break_at(line, length, LINE_END - before)) > 0) {
		fprintf(file, "%*s%.*s\n", (int)before, "", (int)end, line);
		end += strspn(line + end, " ");
		line += end;
		length -= end;
		before = deeper;
	}
	fprintf(file, "%*s%.*s\n", (int)before, "", (int)length, line);
}

void arguments_fit_end(struct arguments_fit *fit)
{
	if (fit->through == NULL)
		return;
	fclose(fit->through);
	for (const char *line = fit->text; line != NULL && *line != '\0';) {
		size_t length = strcspn(line, "\n");

		print_fitted(fit->file, line, length);
		line += length + (line[length] != '\0');
	}
	free(fit->text);
}

/* The folder that path is in would take it. */
static int check_parent(const char *path)
{
	char *copy = strdup(path);
	int error = copy == NULL || access(dirname(copy), W_OK | X_OK) != 0 ? -errno : 0;

	free(copy);
	return error;
}

int arguments_check_folder(const char *option, const char *path)
{
	struct stat status;
	int error = 0;

	if (*path == '\0')
		error = -ENOENT;
	else if (stat(path, &status) != 0)
		error = errno == ENOENT ? check_parent(path) : -errno;
	else if (!S_ISDIR(status.st_mode))
		error = -ENOTDIR;
	else if (access(path, W_OK | X_OK) != 0)
		error = -errno;
	if (error != 0)
		log_error("%s %s: %s", option, path, strerror(-error));
	return error;
}
