/* bifold resume */
#include "vmm/ask/ask.h"
#include "vmm/common/commands.h"

int command_resume(int argc, char **argv)
{
	return ask_simply(
		argc, argv,
		"Usage: bifold resume PATH\n"
		"\n"
		"Let a paused guest go on. PATH is its control socket: bifold run --control PATH.\n"
		"\n"
		"  -h, --help   this text\n"
		"\n"
		"Exit status 0: it runs; 1: it cannot be asked; 125: bad options.\n");
}
