/* Threads of a C library: a mutex, a condition, a barrier, thread-local data and a shared heap. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define THREADS 6
#define ROUNDS	300

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t turn_changed = PTHREAD_COND_INITIALIZER;
static pthread_barrier_t barrier;
static long counter, turn;
static __thread long own;
static int failures;

static void expect(int right, const char *what)
{
	if (right)
		return;
	printf("threads: %s\n", what);
	__atomic_fetch_add(&failures, 1, __ATOMIC_SEQ_CST);
}

static void *run(void *argument)
{
	long number = (long)argument;

	pthread_barrier_wait(&barrier);
	for (long i = 0; i < ROUNDS; i++) {
		size_t size = (size_t)(64 + (i * 977 + number) % 5000);
		char *block = malloc(size);

		memset(block, (int)number, size);
		pthread_mutex_lock(&mutex);
		counter++;
		pthread_mutex_unlock(&mutex);
		own++;
		expect(block[0] == number && block[size - 1] == number, "a block was changed");
		free(block);
	}
	expect(own == ROUNDS, "thread-local data is shared");
	/* One after the other, in order. */
	pthread_mutex_lock(&mutex);
	while (turn != number)
		pthread_cond_wait(&turn_changed, &mutex);
	turn++;
	pthread_cond_broadcast(&turn_changed);
	pthread_mutex_unlock(&mutex);
	return (void *)(number * number);
}

int main(void)
{
	pthread_t thread[THREADS];
	void *result;

	pthread_barrier_init(&barrier, NULL, THREADS);
	for (long i = 0; i < THREADS; i++)
		expect(pthread_create(&thread[i], NULL, run, (void *)i) == 0, "no thread");
	for (long i = 0; i < THREADS; i++) {
		pthread_join(thread[i], &result);
		expect((long)result == i * i, "a result is wrong");
	}
	expect(counter == (long)THREADS * ROUNDS, "the counter is wrong");
	expect(turn == THREADS, "a turn was lost");
	puts(failures ? "threads: wrong" : "threads: all is right");
	return failures != 0;
}
