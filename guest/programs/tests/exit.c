/* Exits with the status given: exit N. */
#include "guest/programs/runtime/runtime.h"

int main(int argc, char **argv)
{
	uint64_t status = 0;

	return argc > 1 && parse_size(argv[1], &status) ? (int)status : 0;
}
