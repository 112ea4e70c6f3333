/* bifold maps: the address space of a running guest. */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "vmm/common/arguments.h"
#include "vmm/common/commands.h"
#include "vmm/common/file.h"
#include "vmm/ask/ask.h"
#include "vmm/ask/maps.h"

struct options {
	json_t *params; /* of the question */
	bool json;
	struct file_output plot;
	const char *path;
};

static const char help[] =
	"Usage: bifold maps [OPTION...] PATH\n"
	"\n"
	"Print the address space that a vCPU of a running guest uses: a line for each\n"
	"range of pages with the same rights, with the sizes of its pages, and where its\n"
	"frames are. PATH is the control socket of a guest: bifold run --control PATH.\n"
	"\n"
	"  --cr3 GPA    of the page tables at this guest-physical address\n"
	"  --vcpu N     of this vCPU (default 0)\n"
	"  --json       print it as JSON\n"
	"  --plot FILE  also draw it into FILE, as SVG; -: to standard output, alone\n"
	"  -h, --help   this text\n"
	"\n"
	"Rights: u: programs may use it; r, w, x: read, write, execute. Exit status 1:\n"
	"the guest cannot be asked; 125: bad options.\n";

/* Before the guest is asked. */
static int open_plot(struct options *options)
{
	const char *name = options->plot.path;
	const char *slash = strrchr(name, '/'), *dot = strrchr(slash != NULL ? slash : name, '.');

	if (strcmp(name, "-") == 0 && options->json) {
		log_error("--json and --plot - cannot both have the standard output");
		return -EINVAL;
	}
	if (dot != NULL && dot[1] != '\0' && strcasecmp(dot, ".svg") != 0) {
		log_error("--plot %s: the picture is SVG: name it %.*s.svg", name,
			  (int)(dot - name), name);
		return -EINVAL;
	}
	return file_open_output(name, &options->plot);
}

static int take(int option, const char *value, void *context)
{
	struct options *options = context;

	if (option != 'p')
		return ask_option(option, value, options->params, &options->json);
	options->plot.path = value;
	return 0;
}

static int parse(int argc, char **argv, struct options *options)
{
	static const struct option long_options[] = {
		{ "plot", required_argument, NULL, 'p' },
		ASK_OPTIONS,
		{ 0 },
	};
	static const struct arguments arguments = { long_options, help, "PATH", take };
	int error = arguments_parse(argc, argv, &arguments, options);

	options->path = argv[optind];
	return error == 0 && options->plot.path != NULL ? open_plot(options) : error;
}

static int draw(const json_t *maps, struct file_output *plot)
{
	int error = file_begin(plot);

	return error != 0 ? error : file_end(plot, maps_draw(maps, plot->file));
}

static int show(const json_t *maps, struct options *options)
{
	bool drawn = options->plot.path != NULL;
	bool printed = !options->json && options->plot.file != stdout;

	if (options->json)
		ask_print_json(maps);
	/* Before the plot's file is emptied. */
	if ((drawn || printed) && !json_is_array(json_object_get(maps, "ranges"))) {
		log_error("the guest's answer is no address space");
		return STATUS_NO;
	}
	if (printed)
		maps_print(maps, stdout);
	return !drawn || draw(maps, &options->plot) == 0 ? 0 : STATUS_NO;
}

int command_maps(int argc, char **argv)
{
	struct options options = { .params = json_object() };
	int status = parse(argc, argv, &options);
	json_t *maps;

	if (status != 0) {
		json_decref(options.params);
		return status > 0 ? 0 : STATUS_USAGE;
	}
	maps = ask(options.path, "maps", options.params);
	status = maps != NULL ? show(maps, &options) : STATUS_NO;
	json_decref(maps);
	json_decref(options.params);
	file_end(&options.plot, 0);
	return status;
}
