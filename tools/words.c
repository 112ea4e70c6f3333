/*
 * words: writes a text of random-looking lines to standard output.
 *
 *     words [BYTES [SEED]]
 *
 * The same BYTES (8 MiB unless told) and SEED give the same text on every machine. A line is 12 to
 * 25 characters of a-z and 0-9, and the text is exactly BYTES long: its last line is cut short.
 * It is the input of tools/demo and of the tests that sort in a small guest.
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_BYTES (8ul << 20)
#define DEFAULT_SEED  1
#define LINE_LEAST    12
#define LINE_SPREAD   14

/* splitmix64: every seed, 0 included, gives a good sequence. */
static uint64_t next_random(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15u;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

static int parse_number(const char *text, uint64_t *value)
{
	char *end;

	if (*text < '0' || *text > '9')
		return -EINVAL;
	errno = 0;
	*value = strtoull(text, &end, 10);
	return *end != '\0' || errno != 0 ? -EINVAL : 0;
}

static void write_words(uint64_t bytes, uint64_t seed)
{
	static const char alphabet[] = "abcdefghijklmnopqrstuvwxyz0123456789";

	while (bytes > 0) {
		unsigned length = LINE_LEAST + next_random(&seed) % LINE_SPREAD;

		for (; length > 0 && bytes > 1; length--, bytes--)
			putchar(alphabet[next_random(&seed) % (sizeof(alphabet) - 1)]);
		putchar('\n');
		bytes--;
	}
}

int main(int argc, char **argv)
{
	uint64_t bytes = DEFAULT_BYTES, seed = DEFAULT_SEED;

	if (argc > 3 || (argc > 1 && parse_number(argv[1], &bytes) != 0) ||
	    (argc > 2 && parse_number(argv[2], &seed) != 0)) {
		fprintf(stderr, "usage: words [BYTES [SEED]]\n");
		return 2;
	}
	write_words(bytes, seed);
	if (fflush(stdout) != 0 || ferror(stdout)) {
		fprintf(stderr, "words: standard output: %s\n", strerror(errno));
		return 1;
	}
	return 0;
}
