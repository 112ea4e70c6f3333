/* ept_space_waiting(): which threads wait while the manager serves a fault. */
#ifdef UNIT_NO_CRITERION
#include "tests/unit/no_criterion.h"
#else
#include <criterion/criterion.h>
#endif
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <string.h>
#include <unistd.h>

#include "ept/internal.h"

#define TOUCHERS (EPT_FAULT_QUEUE + 4)

static struct ept_space *space;
static sem_t begun, go_on; /* the first fault */
static unsigned faults;

static int serve(void *context, gfn_t frame, bool write, int thread)
{
	uint32_t done;

	if (faults++ == 0) {
		sem_post(&begun);
		sem_wait(&go_on);
	}
	cr_assert_eq(ept_backing_ops.zero(space, frame, 1, &done), 0);
	return ept_backing_ops.wake(space, frame, 1);
}

static void dead(void *context, int error, const char *what)
{
	cr_assert(what == NULL);
}

struct toucher {
	uint64_t frame;
	int thread; /* its number */
	pthread_t key;
};

static void *touch(void *argument)
{
	struct toucher *toucher = argument;

	__atomic_store_n(&toucher->thread, (int)gettid(), __ATOMIC_RELEASE);
	return (void *)(uintptr_t) *
	       ((volatile uint8_t *)space->guest_view + toucher->frame * PAGE_SIZE);
}

struct seen {
	int threads[TOUCHERS];
	unsigned count;
};

static void note(void *context, int thread)
{
	struct seen *seen = context;

	cr_assert(seen->count < TOUCHERS);
	seen->threads[seen->count++] = thread;
}

static struct seen who_waits(void)
{
	struct seen seen = { .count = 0 };

	ept_space_waiting(space, note, &seen);
	return seen;
}

/*
 * The one whose fault is served, and those behind it, also those whose messages the fault thread
 * has not read; as many of them as the queue holds. All are served in the end.
 */
Test(waiting, names_who_waits, .timeout = 60)
{
	static const struct ept_manager_ops ops = { .fault = serve, .dead = dead };
	struct ept_config config = { .memory_bytes = TOUCHERS * PAGE_SIZE, .manager_ops = &ops };
	static struct toucher toucher[TOUCHERS];
	int error = ept_probe_userfaultfd();
	struct seen seen;

	if (error != 0)
		cr_skip_test("SKIP: userfaultfd is refused here: %s", strerror(-error));
	sem_init(&begun, 0, 0);
	sem_init(&go_on, 0, 0);
	cr_assert_eq(ept_space_create(&config, &space), 0);
	cr_assert_eq(ept_space_start(space), 0);
	cr_assert_eq(who_waits().count, 0);
	for (unsigned i = 0; i < TOUCHERS; i++) {
		toucher[i].frame = i;
		cr_assert_eq(pthread_create(&toucher[i].key, NULL, touch, &toucher[i]), 0);
		if (i == 0)
			sem_wait(&begun);
		while (i < EPT_FAULT_QUEUE && who_waits().count != i + 1)
			sched_yield();
	}
	seen = who_waits();
	cr_assert_eq(seen.count, EPT_FAULT_QUEUE);
	for (unsigned i = 0; i < EPT_FAULT_QUEUE; i++)
		cr_assert_eq(seen.threads[i],
			     __atomic_load_n(&toucher[i].thread, __ATOMIC_ACQUIRE));
	sem_post(&go_on);
	for (unsigned i = 0; i < TOUCHERS; i++)
		pthread_join(toucher[i].key, NULL);
	cr_assert_eq(who_waits().count, 0);
	ept_space_stop(space);
	cr_assert_eq(faults, TOUCHERS);
	ept_space_destroy(space);
}

#ifdef UNIT_NO_CRITERION
int main(void)
{
	waiting_names_who_waits();
	return 0;
}
#endif
