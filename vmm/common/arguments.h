/*
 * The command line's options, and the messages for words that are none.
 */
#ifndef VMM_COMMON_ARGUMENTS_H
#define VMM_COMMON_ARGUMENTS_H

#include <getopt.h>
#include <stddef.h>
#include <stdio.h>

/*
 * As getopt_long(), which begins anew when optind is 0. An option that is none, lacks its value or
 * has one too many is '?', with a line logged that names the option that may have been meant.
 * argv[0] is the command. shorts may begin with '+'.
 */
int arguments_next(int argc, char **argv, const char *shorts, const struct option *options);

/*
 * Checks that as many words follow the options, from optind on, as `what` names: "PATH SIZE". 0, or
 * -EINVAL with a line logged.
 */
int arguments_expect(int argc, char **argv, const char *what);

/* The command line of a command whose options --help lists, among them "help" as 'h'. */
struct arguments {
	const struct option *options;
	const char *help;  /* the text that --help and -h print */
	const char *words; /* as for arguments_expect(); NULL: the caller looks itself */
	/* One option with its value (or NULL). 0, or -errno with a line logged. NULL: there is none
	 * but --help. */
	int (*take)(int option, const char *value, void *context);
};

/* 0, and optind is at the first word; 1: help was printed; -errno with a line logged. */
int arguments_parse(int argc, char **argv, const struct arguments *arguments, void *context);

/*
 * The one of the names, each at an offset of size bytes from the last, the first being a string's
 * address, that word is most like; NULL: it is like none. names ends with a NULL.
 */
const char *arguments_nearest(const char *word, const char *const *names, size_t size);

/*
 * Prints the words of text to file, in lines of at most 80 columns. The first begins where column
 * is by now, the others are indented to it.
 */
void arguments_print_words(FILE *file, const char *text, int column);

/*
 * Prints text in lines of at most 80 columns: begin hands out a file to print to, and a longer line
 * goes on in the next, deeper than it begins. begin may return file itself, where memory is short;
 * end takes what begin returned.
 */
struct arguments_fit {
	FILE *file, *through;
	char *text;
	size_t size;
};
FILE *arguments_fit_begin(struct arguments_fit *fit, FILE *file);
void arguments_fit_end(struct arguments_fit *fit);

/* Whether files could be written later in a folder, which may have to be made: 0 or -errno, with a
 * line logged that begins with option. Changes nothing. */
int arguments_check_folder(const char *option, const char *path);

#endif
