/*
 * exec: a new space, the program in it, its stack as the ABI wants it, and only then the old memory
 * goes.
 */
#include "guest/exec/exec.h"
#include "guest/exec/strings.h"
#include "guest/file/node.h"
#include "guest/lib/asm.h"
#include "guest/lib/errno.h"
#include "guest/lib/random.h"
#include "guest/lib/string.h"
#include "guest/memory/commit.h"
#include "guest/memory/flush.h"
#include "guest/memory/slab.h"
#include "guest/memory/user.h"
#include "guest/monitor/doorbell.h"
#include "guest/process/process.h"
#include "guest/process/segment.h"
#include "guest/process/vector.h"

#define AUX_PHDR	3
#define AUX_PHENT	4
#define AUX_PHNUM	5
#define AUX_PAGESZ	6
#define AUX_BASE	7
#define AUX_FLAGS	8
#define AUX_ENTRY	9
#define AUX_UID		11
#define AUX_EUID	12
#define AUX_GID		13
#define AUX_EGID	14
#define AUX_PLATFORM	15
#define AUX_HWCAP	16
#define AUX_CLKTCK	17
#define AUX_SECURE	23
#define AUX_RANDOM	25
#define AUX_HWCAP2	26
#define AUX_EXECFN	31
#define AUX_MINSIGSTKSZ 51
#define AUX_PAIRS	19

#define STACK_FIRST (33 * PAGE_SIZE) /* mapped from the start, as Linux does */
#define FLAGS_USER  0x202
/* Random bits of where things begin: the stack pointer by 16 bytes, the heap by pages. */
#define STACK_POINTER_BITS 9
#define HEAP_BITS	   13
#define FRAME_EXTRA	   2048 /* a signal frame's size beyond the vector state */

/*
 * The words from the stack pointer on. They are written in pieces, for there may be a megabyte of
 * pointers. After an error nothing more is written.
 */
struct stack_words {
	uint64_t at; /* where the next piece goes */
	int error;
	unsigned count;
	uint64_t word[64];
};

static void flush_words(struct stack_words *words)
{
	if (!words->error)
		words->error = user_write(words->at, words->word, words->count * 8);
	words->at += words->count * 8;
	words->count = 0;
}

static void put(struct stack_words *words, uint64_t word)
{
	if (words->count == ARRAY_SIZE(words->word))
		flush_words(words);
	words->word[words->count++] = word;
}

static void aux(struct stack_words *words, uint64_t type, uint64_t value)
{
	put(words, type);
	put(words, value);
}

static void put_auxiliary(struct stack_words *words, const struct elf_image *image, uint64_t random,
			  uint64_t platform, uint64_t path)
{
	aux(words, AUX_PHDR, image->headers);
	aux(words, AUX_PHENT, image->header_size);
	aux(words, AUX_PHNUM, image->header_count);
	aux(words, AUX_PAGESZ, PAGE_SIZE);
	aux(words, AUX_BASE, 0);
	aux(words, AUX_FLAGS, 0);
	aux(words, AUX_ENTRY, image->entry);
	aux(words, AUX_UID, current_process()->identity.user[ID_REAL]);
	aux(words, AUX_EUID, current_process()->identity.user[ID_EFFECTIVE]);
	aux(words, AUX_GID, current_process()->identity.group[ID_REAL]);
	aux(words, AUX_EGID, current_process()->identity.group[ID_EFFECTIVE]);
	aux(words, AUX_PLATFORM, platform);
	aux(words, AUX_HWCAP, cpuid(1, 0).edx);
	aux(words, AUX_HWCAP2, 0);
	aux(words, AUX_CLKTCK, USER_HZ);
	aux(words, AUX_SECURE, 0);
	aux(words, AUX_RANDOM, random);
	aux(words, AUX_EXECFN, path);
	aux(words, AUX_MINSIGSTKSZ, FRAME_EXTRA + vector_size);
	aux(words, 0, 0);
}

/* Pointers to `count` strings, which begin at *address of the process, and moves behind them. */
static void put_pointers(struct stack_words *words, struct exec_cursor *cursor, uint64_t *address,
			 unsigned count)
{
	for (; count > 0; count--) {
		put(words, *address);
		*address += exec_strings_skip(cursor);
	}
	put(words, 0);
}

static int write_strings(const struct exec_strings *strings, uint64_t address)
{
	int error = 0;

	for (const struct exec_chunk *chunk = strings->first; chunk && !error;
	     chunk = chunk->next) {
		error = user_write(address, chunk->text + chunk->start, chunk->end - chunk->start);
		address += chunk->end - chunk->start;
	}
	return error;
}

/*
 * The first stack, from the top: the path, the strings, "x86_64", 16 random bytes; then, at the
 * stack pointer, argc, argv, envp and the auxiliary vector. The new space is the current one.
 */
static int build_stack(const struct elf_image *image, const char *path,
		       const struct exec_strings *strings, uint64_t *stack_pointer)
{
	uint64_t count = 1 + (uint64_t)strings->argument_count + 1 + strings->environment_count +
			 1 + 2 * (AUX_PAIRS + 1);
	uint64_t random[2] = { random_next(), random_next() };
	struct space *space = current_space();
	uint64_t path_at = space->stack_top - 8 - (strlen(path) + 1);
	uint64_t strings_at = path_at - strings->used;
	uint64_t platform_at = strings_at - sizeof("x86_64");
	uint64_t random_at = ROUND_DOWN(platform_at - sizeof(random), 16);
	uint64_t address = strings_at;
	struct exec_cursor cursor = exec_strings_begin(strings);
	struct stack_words words = { .count = 0 };
	int error = user_write(path_at, path, strlen(path) + 1);

	if (!error)
		error = write_strings(strings, strings_at);
	if (!error)
		error = user_write(platform_at, "x86_64", sizeof("x86_64"));
	if (!error)
		error = user_write(random_at, random, sizeof(random));
	if (error)
		return -ENOMEM;
	*stack_pointer = ROUND_DOWN(random_at - count * 8, 16) -
			 16 * space_random(space, STACK_POINTER_BITS);
	words.at = *stack_pointer;
	put(&words, strings->argument_count);
	put_pointers(&words, &cursor, &address, strings->argument_count);
	space->arguments = strings_at;
	space->arguments_end = address;
	space->environment_end = path_at;
	space->first_stack = *stack_pointer;
	put_pointers(&words, &cursor, &address, strings->environment_count);
	put_auxiliary(&words, image, random_at, platform_at, path_at);
	flush_words(&words);
	return words.error ? -ENOMEM : 0;
}

static int make_space(struct process *process, struct node *node, struct elf_image *image,
		      const char *path, struct space **made)
{
	struct space *space = space_create();
	struct area stack = { .flags = AREA_READ | AREA_WRITE | AREA_GROWSDOWN | AREA_STACK |
				       AREA_ACCOUNT };
	const char *why = "does not fit into memory";
	int error;

	if (!space)
		return -ENOMEM;
	space->stack_limit = MIN(process->limit[RLIMIT_STACK].current, 1ull << 30);
	space_place(space, !process->no_random);
	error = elf_load(space, node, image, &why);
	stack.end = space->stack_top;
	stack.start = stack.end - STACK_FIRST;
	stack.flags |= image->stack_executable ? AREA_EXEC : 0;
	if (!error && !space_is_free(space, stack.start, stack.end))
		error = -ENOMEM;
	if (!error)
		error = space_add(space, &stack);
	if (error) {
		log_line(QUIRE_LEVEL_ERROR, "%s %s", path,
			 error == -ENOMEM ? "finds no memory" : why);
		space_put(space);
		return error;
	}
	space->brk_start = space->brk = image->end + space_random(space, HEAP_BITS) * PAGE_SIZE;
	*made = space;
	return 0;
}

static void name_thread(struct thread *thread, const char *path)
{
	const char *name = path;

	for (; *path; path++) {
		if (*path == '/')
			name = path + 1;
	}
	string_copy(thread->name, name, sizeof(thread->name));
}

int exec_program(struct process *process, struct node *node, const char *path,
		 struct exec_strings *strings, struct trap_frame *frame)
{
	struct thread *thread = current();
	struct space *space, *old = process->space;
	struct elf_image image;
	uint64_t stack_pointer;
	int error = script_resolve(process->directory, path, &node, strings);

	if (!error)
		error = make_space(process, node, &image, path, &space);
	if (error)
		return error;
	thread->space = space;
	space_switch(space);
	error = build_stack(&image, path, strings, &stack_pointer);
	thread->space = old;
	space_switch(old);
	if (!error && !commit_holds_without(old && old->refs == 1 ? old->committed : 0))
		error = -ENOMEM;
	if (!error)
		error = vector_prepare(thread);
	if (error) {
		space_put(space);
		return error;
	}
	process_set_space(process, space);
	name_thread(thread, path);
	node_put(process->executable);
	process->executable = node_get(node);
	thread->fs_base = thread->gs_base = 0;
	thread->clear_tid = 0;
	process->identity.user[ID_SAVED] = process->identity.user[ID_EFFECTIVE];
	process->identity.group[ID_SAVED] = process->identity.group[ID_EFFECTIVE];
	signal_reset(process);
	segment_free(process);
	vector_reset();
	msr_write(MSR_FS_BASE, 0);
	msr_write(MSR_KERNEL_GS_BASE, 0);
	*frame = (struct trap_frame){ .rip = image.entry,
				      .cs = SELECTOR_USER_CODE,
				      .rflags = FLAGS_USER,
				      .rsp = stack_pointer,
				      .ss = SELECTOR_USER_DATA };
	sample_return(frame);
	return 0;
}
