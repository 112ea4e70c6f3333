/* Touches memory until there is none: quire kills it (SIGKILL) and lives. Each page gets a random
 * word, so that nothing below can keep it for free. */
#include "guest/programs/runtime/runtime.h"

int main(int argc, char **argv)
{
	uint64_t size = 1ull << 40;
	volatile uint64_t *memory = map_memory(size, PROT_READ | PROT_WRITE);

	if (!memory)
		return 2;
	for (uint64_t i = 0; i < size / PAGE; i++)
		memory[i * (PAGE / 8)] = mix(i);
	return 1;
}
