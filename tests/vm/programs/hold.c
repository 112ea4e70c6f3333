/*
 * hold MIB half|random: fills MIB with data, says "ready", waits for a line, checks every word,
 * says "whole". Tests use the pause to do things to its memory from outside.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t next(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* half: the second half of each page repeats one word, which compresses away. */
static uint64_t word(uint64_t index, uint64_t random, int half)
{
	return half && index % 512 >= 256 ? index / 512 : random;
}

int main(int argc, char **argv)
{
	uint64_t words, state = 88172645463325252u;
	uint64_t *memory;
	char line[16];
	int half;

	if (argc < 3)
		return 2;
	words = strtoull(argv[1], NULL, 10) << 17;
	half = strcmp(argv[2], "half") == 0;
	memory = malloc(words * sizeof(*memory));
	if (memory == NULL)
		return 3;
	for (uint64_t i = 0; i < words; i++)
		memory[i] = word(i, next(&state), half);
	puts("ready");
	fflush(stdout);
	if (fgets(line, sizeof(line), stdin) == NULL)
		return 4;
	state = 88172645463325252u;
	for (uint64_t i = 0; i < words; i++) {
		if (memory[i] != word(i, next(&state), half)) {
			printf("wrong at %llu\n", (unsigned long long)i);
			return 5;
		}
	}
	puts("whole");
	return 0;
}
