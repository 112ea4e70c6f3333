/* A tree of processes, each of which adds up its children's sums, read from pipes. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define WIDTH 4
#define DEPTH 3

static long sum(int depth, long number)
{
	long total = number;
	int pipes[WIDTH][2];

	if (depth == 0)
		return number;
	for (int i = 0; i < WIDTH; i++) {
		if (pipe(pipes[i]) != 0)
			exit(2);
		if (fork() == 0) {
			long value = sum(depth - 1, number * WIDTH + i + 1);

			exit(write(pipes[i][1], &value, sizeof(value)) != sizeof(value));
		}
		close(pipes[i][1]);
	}
	for (int i = 0; i < WIDTH; i++) {
		long value = 0;

		if (read(pipes[i][0], &value, sizeof(value)) != sizeof(value))
			exit(3);
		close(pipes[i][0]);
		total += value;
	}
	for (int i = 0; i < WIDTH; i++) {
		int status;

		if (wait(&status) < 0 || status != 0)
			exit(4);
	}
	return total;
}

/* The sum that the tree must give. */
static long expected(int depth, long number)
{
	long total = number;

	for (int i = 0; depth > 0 && i < WIDTH; i++)
		total += expected(depth - 1, number * WIDTH + i + 1);
	return total;
}

int main(void)
{
	long have = sum(DEPTH, 0), want = expected(DEPTH, 0);

	printf("forks: %ld, it should be %ld\n", have, want);
	puts(have == want ? "forks: all is right" : "forks: wrong");
	return have != want;
}
