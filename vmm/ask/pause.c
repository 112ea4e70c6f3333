/* bifold pause */
#include "vmm/ask/ask.h"
#include "vmm/common/commands.h"

int command_pause(int argc, char **argv)
{
	return ask_simply(
		argc, argv,
		"Usage: bifold pause PATH\n"
		"\n"
		"Stop a running guest where it is, until 'bifold resume'. PATH is its control\n"
		"socket: bifold run --control PATH. Its vCPUs do not run, and it can be looked\n"
		"at; its clocks go on, and so does the time of --timeout. To pause a paused guest\n"
		"changes nothing.\n"
		"\n"
		"  -h, --help   this text\n"
		"\n"
		"Exit status 0: it is paused; 1: it cannot be asked, or a vCPU does not come out;\n"
		"125: bad options.\n");
}
