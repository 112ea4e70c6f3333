/* bifold budget */
#include "vmm/ask/size.h"
#include "vmm/common/commands.h"

static const char *budget_excuse(const json_t *state)
{
	return "what is left cannot be put away";
}

int command_budget(int argc, char **argv)
{
	static const char help[] =
		"Usage: bifold budget [--no-wait] PATH SIZE|none\n"
		"\n"
		"Change what a running guest may hold of the host's memory. PATH is its control\n"
		"socket: bifold run --control PATH. A larger budget is in force at once; a\n"
		"smaller one is reached by steps, while the guest runs, and is followed until it\n"
		"is; Ctrl-C ends that, and leaves what was asked for.\n"
		"\n"
		"  --no-wait    ask, and do not follow\n"
		"  -h, --help   this text\n"
		"\n"
		"SIZE: bytes, or with a suffix as 512M or 1.5G, or a share of the guest's memory\n"
		"as 25%. Exit status 0: it is in force; 1: the guest cannot be asked, or ended;\n"
		"2: it is refused: too small to work with, or no nearer after 5 s; 125: bad\n"
		"options; 128+n: signal n.\n";
	static const struct follow_goal goal = {
		.what = "the budget",
		.method = "budget",
		.now = "budget_bytes",
		.target = "budget_wanted_bytes",
		.zero = "no limit",
		.excuse = budget_excuse,
	};

	return size_command(argc, argv, help, &goal);
}
