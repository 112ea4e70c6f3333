/* bifold balloon */
#include "vmm/ask/size.h"
#include "vmm/common/commands.h"
#include "vmm/common/json.h"

static const char *balloon_excuse(const json_t *state)
{
	return json_truth(state, "ready") ? NULL : "the guest has no driver for it";
}

int command_balloon(int argc, char **argv)
{
	static const char help[] =
		"Usage: bifold balloon [--no-wait] PATH SIZE\n"
		"\n"
		"Ask a running guest for SIZE of its memory, or give back what it had given\n"
		"beyond that. PATH is its control socket: bifold run --control PATH. What is in\n"
		"the balloon costs the host nothing. Follows it until it is there; Ctrl-C ends\n"
		"that, and leaves what was asked for.\n"
		"\n"
		"  --no-wait    ask, and do not follow\n"
		"  -h, --help   this text\n"
		"\n"
		"SIZE: bytes, or with a suffix as 512M or 1.5G, or a share of the guest's memory\n"
		"as 25%; 0 gives all back. Exit status 0: it is there; 1: the guest cannot be\n"
		"asked, or ended; 2: it refuses: it has no balloon, or no driver, or gives\n"
		"nothing more for 5 s; 125: bad options; 128+n: signal n.\n";
	static const struct follow_goal goal = {
		.what = "the balloon",
		.method = "balloon",
		.now = "actual_bytes",
		.target = "target_bytes",
		.excuse = balloon_excuse,
	};

	return size_command(argc, argv, help, &goal);
}
