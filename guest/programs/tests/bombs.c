/*
 * Programs that take all there is, and what must be left after them: `bombs NAME...` or `bombs
 * all`.
 *
 * Each bomb goes off in a process group of its own. Beside it a bystander works on: it fills its
 * memory, checks it, and sends bytes through a pipe. At the bomb's height it must still get ahead,
 * and afterwards; it must find its memory as it left it; and once the group is killed and reaped,
 * nothing may be left in the kernel (leaks.h). Errors and deaths are those of Linux.
 */
#include "guest/programs/tests/leaks.h"

#define SECONDS_EACH 60
#define WATCHED	     4 /* the bystander's pages: never the fattest */
#define ROUNDS	     3 /* that a bystander which works gets ahead */
#define PATIENCE_MS  5000
#define FORK_SECONDS 1
#define FORK_PAGES   200 /* of each process of the fork bomb */
#define FORK_MS	     400
#define THREADS_MOST 4100
#define SPACE_LIMIT  (4 * MIB)
#define PIECE	     (16 * PAGE)
#define HUGE_PIECE   (1ul << 40)
#define AREAS_MOST   400
#define STACK_LIMIT  (128 << 10)
#define SIGNALS	     200
#define PIPE_BYTES   65536

struct watch {
	uint32_t rounds, stop;	     /* the bystander's */
	uint32_t count, failed, odd; /* the bomb's own */
};

static volatile struct watch *watch;

static void add_one(volatile uint32_t *word)
{
	__atomic_fetch_add(word, 1, __ATOMIC_SEQ_CST);
}

/* ---- the bystander ---- */

static void stand_by(void)
{
	char *memory = map(NULL, WATCHED * PAGE, RW, PRIVATE_ANONYMOUS, -1), byte = 0;
	int ends[2];

	expect(call(PIPE, ends) == 0, "the bystander's pipe");
	mark(memory, WATCHED, 0);
	for (uint64_t round = 0; !watch->stop && !failures; round++) {
		expect(marked(memory, WATCHED, round), "the bystander's memory");
		mark(memory, WATCHED, round + 1);
		expect(call(WRITE, ends[1], memory + 24, 1) == 1 &&
			       call(READ, ends[0], &byte, 1) == 1 && byte == memory[24],
		       "the bystander's pipe");
		add_one(&watch->rounds);
		nap(5);
	}
	exit(failures ? 1 : 0);
}

static void bystander_gets_ahead(const char *when)
{
	uint32_t rounds = watch->rounds;

	for (unsigned i = 0; i < PATIENCE_MS && watch->rounds - rounds < ROUNDS; i++)
		nap(1);
	expect(watch->rounds - rounds >= ROUNDS, when);
}

/* ---- processes ---- */

static void __attribute__((noreturn)) wait_for_the_end(void)
{
	for (;;)
		call(PAUSE);
}

/* Each process, and each of its children, forks until that fails. A child takes memory of its own,
 * for which it has a while before its parent forks again: else they are too many to have a turn. */
static void __attribute__((noreturn)) fork_on(void)
{
	char *memory;
	long pid;

	while ((pid = call(FORK)) >= 0) {
		if (pid > 0) {
			nap(FORK_MS);
			continue;
		}
		add_one(&watch->count);
		memory = map(NULL, FORK_PAGES * PAGE, RW, PRIVATE_ANONYMOUS, -1);
		if (memory)
			mark(memory, FORK_PAGES, 1);
	}
	if (pid != -EAGAIN && pid != -ENOMEM)
		add_one(&watch->odd);
	add_one(&watch->failed);
	wait_for_the_end();
}

static long oom_kills(void)
{
	return file_number("/proc/vmstat", "oom_kill");
}

/* Memory or processes run out, or the OOM killer comes first. Its processes are many, and each has
 * its turn before this one has another: what is done here meanwhile is little. */
static void fork_bomb(void)
{
	uint64_t end = now() + FORK_SECONDS * 1000000000ull;
	long kills = oom_kills(), pid = call(FORK);

	if (pid == 0)
		fork_on();
	while (watch->failed == 0 && (now() < end || oom_kills() == kills))
		nap(20);
	bystander_gets_ahead("the bystander under a fork bomb");
	expect(watch->count > 3 && watch->odd == 0, "forks, and how they fail");
	print("bombs: %u processes, %u could not fork\n", watch->count, watch->failed);
}

static void sleeper(void *argument)
{
	wait_for_the_end();
}

static void start_threads(void)
{
	struct task *task = map(NULL, THREADS_MOST * sizeof(*task), RW, PRIVATE_ANONYMOUS, -1);
	long result = 0;

	while (watch->count < THREADS_MOST &&
	       (result = task_start(&task[watch->count], sleeper, NULL)) > 0)
		add_one(&watch->count);
	expect(result == -EAGAIN || result == -ENOMEM, "how a thread fails to start");
	add_one(&watch->failed);
	bystander_gets_ahead("the bystander beside many threads");
	exit(failures ? 1 : 0);
}

/* Threads run out, or else the memory for their stacks. */
static void thread_bomb(void)
{
	int status = ends_with(start_threads);

	expect(status == 0 || status == SIGKILL, "many threads' end");
	expect(watch->count > 10, "no threads");
	print("bombs: %u threads, then %s\n", watch->count,
	      status == SIGKILL ? "the OOM killer" : "no more");
}

/* ---- memory ---- */

/* Promises only: of the whole address space, and in as many areas as can be. */
static void map_and_leave(void)
{
	unsigned pieces = 0;
	long result;

	while ((result = syscall6(SYS_MMAP, 0, HUGE_PIECE, pieces % 2 ? PROT_READ : RW,
				  PRIVATE_ANONYMOUS | MAP_NORESERVE, -1, 0)) > 0)
		pieces++;
	expect(result == -ENOMEM && pieces > 50 && pieces < 200, "the address space's end");
	expect(map(NULL, 2 * HUGE_PIECE, RW, PRIVATE_ANONYMOUS, -1) == NULL, "more than there is");
	for (unsigned i = 0; i < AREAS_MOST; i++)
		expect(map(NULL, PAGE, i % 2 ? PROT_READ : RW, PRIVATE_ANONYMOUS, -1) != NULL,
		       "one of many areas");
	exit(failures ? 1 : 0);
}

static void map_and_touch(void)
{
	unsigned pieces = 0;
	char *memory;

	set_limit(RLIMIT_SPACE, SPACE_LIMIT);
	for (; (memory = map(NULL, PIECE, RW, PRIVATE_ANONYMOUS, -1)); pieces++)
		mark(memory, PIECE / PAGE, pieces);
	expect(pieces > 10 && pieces <= SPACE_LIMIT / PIECE, "touched up to the limit");
	expect(syscall6(SYS_MMAP, 0, PIECE, RW, PRIVATE_ANONYMOUS, -1, 0) == -ENOMEM,
	       "beyond the limit");
	exit(failures ? 1 : 0);
}

static void touch_without_end(void)
{
	for (;;) {
		char *memory = map(NULL, PIECE, RW, PRIVATE_ANONYMOUS, -1);

		if (memory)
			mark(memory, PIECE / PAGE, 1);
	}
}

static void mmap_bomb(void)
{
	expect(ends_with(map_and_leave) == 0, "maps that nobody touches");
	expect(ends_with(map_and_touch) == 0, "maps within a limit");
	bystander_gets_ahead("the bystander beside maps");
	expect(ends_with(touch_without_end) == SIGKILL, "maps without a limit");
}

/* ---- signals ---- */

static void fault(int signal)
{
	*(volatile char *)8 = 1;
}

/* Each on the frame of the one before, until the stack ends. */
static void fault_in_handler(void)
{
	on_signal(SIGSEGV, fault, SA_NODEFER);
	fault(0);
}

/* SIGSEGV is blocked in its handler: at once. */
static void fault_twice(void)
{
	on_signal(SIGSEGV, fault, 0);
	fault(0);
}

static void raise_again(int signal)
{
	add_one(&watch->count);
	call(KILL, call(GETPID), signal);
}

static void raise_in_handler(void)
{
	on_signal(SIGUSR1, raise_again, SA_NODEFER);
	raise_again(SIGUSR1);
}

/* Blocked in its handler: one ends and the next begins, for ever. */
static void raise_after_handler(void)
{
	on_signal(SIGUSR1, raise_again, 0);
	raise_again(SIGUSR1);
	wait_for_the_end();
}

static __attribute__((noinline)) int go_deeper(volatile char *above)
{
	volatile char here[512];

	here[0] = *above;
	return go_deeper(here) + here[0];
}

static void overflow(int signal)
{
	char byte = 0;

	go_deeper(&byte);
}

static void overflow_in_handler(void)
{
	on_signal(SIGUSR1, overflow, 0);
	call(KILL, call(GETPID), SIGUSR1);
}

static void signal_bomb(void)
{
	long pid;

	set_limit(RLIMIT_STACK, STACK_LIMIT);
	expect(DIED_OF(ends_with(fault_twice)) == SIGSEGV, "a handler that faults");
	expect(DIED_OF(ends_with(fault_in_handler)) == SIGSEGV, "handlers that fault");
	expect(DIED_OF(ends_with(raise_in_handler)) == SIGSEGV, "handlers in handlers");
	expect(DIED_OF(ends_with(overflow_in_handler)) == SIGSEGV, "a handler without a stack");
	expect(watch->count > 10, "handlers before the stack's end");
	watch->count = 0;
	pid = call(FORK);
	if (pid == 0)
		raise_after_handler();
	while (watch->count < SIGNALS)
		nap(1);
	bystander_gets_ahead("the bystander beside a storm of signals");
	expect(call(KILL, pid, SIGTERM) == 0 && wait_for(pid) == SIGTERM, "the storm's end");
}

/* ---- descriptors and pipes ---- */

/* Each child holds as many files as it can, and its parent's. */
static void descriptor_bomb(void)
{
	unsigned opened = 0;
	long fd, pid;

	while ((fd = opened % 8 ? call(DUP, 0) : call(OPEN, "/dev/null", 0, 0)) >= 0)
		opened++;
	expect(fd == -EMFILE && opened > 200, "files without end");
	expect(call(DUP, 1) == -EMFILE, "one more");
	pid = call(FORK);
	if (pid == 0)
		exit(call(DUP, 1) == -EMFILE && call(CLOSE, 5) == 0 && call(DUP, 1) == 5 ? 0 : 1);
	bystander_gets_ahead("the bystander beside many files");
	expect(wait_for(pid) == 0 && call(DUP, 1) == -EMFILE, "a child with many files");
}

/* Each pipe full. */
static void pipe_bomb(void)
{
	static char bytes[PIPE_BYTES];
	int ends[2], first[2];
	unsigned pipes = 0;
	long result;

	expect(call(PIPE2, first, O_NONBLOCK) == 0, "no pipe");
	memset(bytes, 'p', sizeof(bytes));
	call(WRITE, first[1], bytes, sizeof(bytes));
	for (; (result = call(PIPE2, ends, O_NONBLOCK)) == 0; pipes++)
		call(WRITE, ends[1], bytes, pipes % 8 ? PAGE : sizeof(bytes));
	expect(result == -EMFILE || result == -ENFILE || result == -ENOMEM, "pipes without end");
	bystander_gets_ahead("the bystander beside many pipes");
	result = call(READ, first[0], bytes, sizeof(bytes));
	expect(result == PIPE_BYTES && bytes[0] == 'p' && bytes[PIPE_BYTES - 1] == 'p',
	       "what is in a pipe");
	print("bombs: %u pipes\n", pipes);
}

/* ---- */

static const struct bomb {
	const char *name;
	void (*run)(void);
} bombs[] = {
	{ "fork", fork_bomb },	   { "mmap", mmap_bomb },     { "signal", signal_bomb },
	{ "thread", thread_bomb }, { "fd", descriptor_bomb }, { "pipe", pipe_bomb },
};
#define BOMBS (sizeof(bombs) / sizeof(bombs[0]))

static bool go_off(const struct bomb *bomb)
{
	unsigned before = failures;
	long bystander, pid;

	*watch = (struct watch){ 0 };
	bystander = call(FORK);
	if (bystander == 0)
		stand_by();
	bystander_gets_ahead("the bystander alone");
	pid = call(FORK);
	if (pid == 0) {
		call(SETPGID, 0, 0);
		call(ALARM, SECONDS_EACH);
		bomb->run();
		exit(failures ? 1 : 0);
	}
	expect(wait_for(pid) == 0, "the bomb");
	end_group(pid);
	bystander_gets_ahead("the bystander afterwards");
	watch->stop = 1;
	expect(wait_for(bystander) == 0, "the bystander's end");
	return failures == before;
}

static void no_bomb(void)
{
}

static bool try_bomb(const struct bomb *bomb)
{
	uint64_t start = now();
	bool right = go_off(bomb), kept = leaks_none();

	print("%-20s %s %6lu ms\n", bomb->name, right && kept ? "ok   " : "WRONG",
	      (now() - start) / 1000000);
	if (!kept)
		leaks_say(bomb->name);
	return right && kept;
}

int main(int argc, char **argv)
{
	bool all = argc == 2 && equal(argv[1], "all"), right;

	watch = map(NULL, PAGE, RW, SHARED_ANONYMOUS, -1);
	leaks_init();
	/* A run without a bomb makes the kernel take now whatever it keeps for good. */
	right = go_off(&(struct bomb){ "none", no_bomb });
	leaks_none();
	for (int i = 1; i < argc; i++) {
		unsigned found = 0;

		for (unsigned j = 0; j < BOMBS; j++) {
			if (!all && !equal(argv[i], bombs[j].name))
				continue;
			right = try_bomb(&bombs[j]) && right;
			found++;
		}
		if (found > 0)
			continue;
		print_error("bombs: %s: no such bomb; fork, mmap, signal, thread, fd, pipe, all\n",
			    argv[i]);
		return 2;
	}
	if (!right)
		return 1;
	print("bombs: quire lives\n");
	return 0;
}
