/*
 * bifold: the subcommands, and the only exit().
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "vmm/common/arguments.h"
#include "vmm/common/commands.h"

#define STACK_BYTES (1u << 20)

static const struct command {
	const char *name;
	const char *summary;
	int (*run)(int argc, char **argv);
} commands[] = {
	{ "run", "run a program in a guest whose memory bifold manages", command_run },
	{ "doctor", "check whether this host can do it, and mend what it lacks", command_doctor },
	{ "translate", "follow an address of a running guest through both layers",
	  command_translate },
	{ "maps", "print the address space of a running guest", command_maps },
	{ "stat", "tell how a running guest is", command_stat },
	{ "top", "watch and steer a running guest on a terminal", command_top },
	{ "balloon", "ask a running guest for memory, or give it back", command_balloon },
	{ "budget", "change what a running guest may hold of the host's memory", command_budget },
	{ "pause", "stop a running guest where it is", command_pause },
	{ "resume", "let a paused guest go on", command_resume },
	{ "quit", "end a running guest", command_quit },
	{ "bench", "measure what the two layers of translation cost on this host", command_bench },
};

#define COMMAND_COUNT (sizeof(commands) / sizeof(commands[0]))

static void print_help(FILE *file)
{
	fputs("Usage: bifold COMMAND [ARG...]\n"
	      "\n"
	      "A virtual machine monitor that owns its guests' memory: it serves their page\n"
	      "faults, compresses and swaps their pages itself, and keeps them inside a budget.\n"
	      "\n",
	      file);
	for (size_t i = 0; i < COMMAND_COUNT; i++)
		fprintf(file, "  %-10s %s\n", commands[i].name, commands[i].summary);
	fputs("\n"
	      "  -h, --help   this text; 'bifold COMMAND --help' says more\n"
	      "  --version    the version\n"
	      "\n"
	      "Begin with 'bifold doctor', then 'bifold run'.\n",
	      file);
}

static int complain(const char *word)
{
	const char *names[COMMAND_COUNT + 3] = { "--help", "--version" };
	const char *nearest;

	for (size_t i = 0; i < COMMAND_COUNT; i++)
		names[i + 2] = commands[i].name;
	nearest = arguments_nearest(word, names, sizeof(*names));
	if (nearest != NULL)
		log_error("'%s' is no command of bifold: did you mean '%s'?", word, nearest);
	else
		log_error("'%s' is no command of bifold: try 'bifold --help'", word);
	return STATUS_USAGE;
}

static int dispatch(int argc, char **argv)
{
	if (argc < 2) {
		print_help(stderr);
		return STATUS_USAGE;
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
	    strcmp(argv[1], "help") == 0) {
		print_help(stdout);
		return 0;
	}
	if (strcmp(argv[1], "--version") == 0) {
		puts("bifold " BIFOLD_VERSION);
		return 0;
	}
	for (size_t i = 0; i < COMMAND_COUNT; i++)
		if (strcmp(argv[1], commands[i].name) == 0)
			return commands[i].run(argc - 1, argv + 1);
	return complain(argv[1]);
}

/*
 * A descriptor of the standard three that was closed at the start would be taken by the next file
 * opened, and the guest's words would go there. In its place comes one that fails as a closed one
 * does.
 */
static void keep_standard_descriptors(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0 && errno == EBADF &&
		    open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) < 0)
			return;
}

/* A limit on the main thread's stack would be every thread's. Memory that is not touched is free.
 */
static void size_stacks(void)
{
	pthread_attr_t attr;

	if (pthread_attr_init(&attr) != 0)
		return;
	if (pthread_attr_setstacksize(&attr, STACK_BYTES) == 0)
		pthread_setattr_default_np(&attr);
	pthread_attr_destroy(&attr);
}

/* An error of standard output is reported, and is a failure. */
static int finish_output(int status)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return status;
	if (!log_has_spoken())
		log_error("standard output: %s", strerror(errno));
	return status != 0 ? status : STATUS_FAILED;
}

int main(int argc, char **argv)
{
	int status;

	keep_standard_descriptors();
	size_stacks();
	signal(SIGXFSZ, SIG_IGN); /* a file that may not grow is an error of its write */
	status = finish_output(dispatch(argc, argv));
	log_drain(-1, LOG_PATIENCE_MS);
	exit(status);
}
