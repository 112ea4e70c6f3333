/*
 * Quire's paging, by programs that check themselves: each with the default memory, and with a host
 * budget of about a third of what it touches.
 */
#include <criterion/criterion.h>
#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/vm/harness.h"

static void init(void)
{
	harness_init();
	need_kvm();
}

TestSuite(paging, .init = init, .fini = harness_finish, .timeout = 300);

static void expect(const struct child *child, int status, const char *out)
{
	cr_assert_eq(child->status, status, "status %d, not %d; it said: %s%s", child->status,
		     status, child->out_text, child->err_text);
	cr_assert(strstr(child->out_text, out) != NULL, "'%s' is not in: %s", out, child->out_text);
}

Test(paging, copies_on_write_and_shares)
{
	expect(run_bifold(guest_program("paging"), "leaks"), 0, "paging is right");
}

/* Where things are: different from run to run, unless randomness is off. */
Test(paging, places_are_random)
{
	struct child *first = run_bifold(guest_program("space"), "where");
	struct child *second = run_bifold(guest_program("space"), "where");
	struct child *third = run_bifold("--append", "norandmaps", guest_program("space"), "where");
	struct child *fourth =
		run_bifold("--append", "norandmaps", guest_program("space"), "where");

	expect(first, 0, "stack 7ff");
	cr_assert_str_neq(first->out_text, second->out_text);
	expect(third, 0, "stack 7fffffff");
	cr_assert_str_eq(third->out_text, fourth->out_text);
}

Test(paging, contiguous_region_too_large)
{
	struct child *child = run_bifold("--memory", "24M", "--append", "contiguous=20M",
					 guest_program("contiguous"));

	expect(child, 1, "contiguous: no region");
	cr_assert(strstr(child->err_text, "memory has no room for that") != NULL, "it said: %s",
		  child->err_text);
}

/*
 * Programs with one number of theirs changed, run by a shell inside the guest (bifold itself would
 * refuse to start them): the kernel refuses them or they die, and the shell goes on.
 */
static void second_over_first(Elf64_Ehdr *header, Elf64_Phdr *load)
{
	load[1].p_vaddr = load[0].p_vaddr | (load[1].p_offset & 4095);
}

static void entry_outside(Elf64_Ehdr *header, Elf64_Phdr *load)
{
	header->e_entry = 0x123456789000;
}

static void entry_not_canonical(Elf64_Ehdr *header, Elf64_Phdr *load)
{
	header->e_entry = 0x8000000000000000;
}

static void file_beyond_memory(Elf64_Ehdr *header, Elf64_Phdr *load)
{
	load[1].p_memsz = load[1].p_filesz - 1;
}

static void huge_memory(Elf64_Ehdr *header, Elf64_Phdr *load)
{
	load[1].p_flags |= PF_W; /* so that it counts as promised */
	load[1].p_memsz = 1ull << 46;
}

static void all_of_the_space(Elf64_Ehdr *header, Elf64_Phdr *load)
{
	load[1].p_memsz = UINT64_MAX;
}

static void address_that_wraps(Elf64_Ehdr *header, Elf64_Phdr *load)
{
	load[1].p_vaddr = UINT64_MAX - 4095 + (load[1].p_vaddr & 4095);
}

static void kernel_address(Elf64_Ehdr *header, Elf64_Phdr *load)
{
	load[1].p_vaddr = 0xffffffff80200000 | (load[1].p_vaddr & 4095);
}

static void null_address(Elf64_Ehdr *header, Elf64_Phdr *load)
{
	load[0].p_vaddr = 0;
}

static void offset_out_of_step(Elf64_Ehdr *header, Elf64_Phdr *load)
{
	load[1].p_offset += 8;
}

static void offset_beyond_the_end(Elf64_Ehdr *header, Elf64_Phdr *load)
{
	load[1].p_offset += 1ull << 40;
}

static void too_many_headers(Elf64_Ehdr *header, Elf64_Phdr *load)
{
	header->e_phnum = 0xffff;
}

static void headers_beyond_the_end(Elf64_Ehdr *header, Elf64_Phdr *load)
{
	header->e_phoff = UINT64_MAX - 7;
}

static void stack_in_the_way(Elf64_Ehdr *header, Elf64_Phdr *load)
{
	load[1].p_vaddr = 0x7ffffff00000 | (load[1].p_vaddr & 4095);
	load[1].p_memsz = 0xff000 - (load[1].p_vaddr & 4095);
}

static void writable_and_executable(Elf64_Ehdr *header, Elf64_Phdr *load)
{
	for (unsigned i = 0; load[i].p_type == PT_LOAD; i++)
		load[i].p_flags = PF_R | PF_W | PF_X;
}

#define OWN_STATUS 3

static const struct {
	const char *name;
	void (*spoil)(Elf64_Ehdr *header, Elf64_Phdr *load);
	int status; /* that the shell sees; 0: any but the program's own */
} hostile[] = {
	{ "second_over_first", second_over_first, 0 },
	{ "entry_outside", entry_outside, 139 },
	{ "entry_not_canonical", entry_not_canonical, 0 },
	{ "file_beyond_memory", file_beyond_memory, 0 },
	{ "huge_memory", huge_memory, 0 },
	{ "all_of_the_space", all_of_the_space, 0 },
	{ "address_that_wraps", address_that_wraps, 0 },
	{ "kernel_address", kernel_address, 0 },
	{ "null_address", null_address, 0 },
	{ "offset_out_of_step", offset_out_of_step, 0 },
	{ "offset_beyond_the_end", offset_beyond_the_end, 0 },
	{ "too_many_headers", too_many_headers, 0 },
	{ "headers_beyond_the_end", headers_beyond_the_end, 0 },
	{ "stack_in_the_way", stack_in_the_way, 0 },
	{ "writable_and_executable", writable_and_executable, OWN_STATUS },
};

/* The first PT_LOAD of the copy; all of them stand together. */
static Elf64_Phdr *first_load(char *program)
{
	Elf64_Phdr *header = (void *)(program + ((Elf64_Ehdr *)program)->e_phoff);

	while (header->p_type != PT_LOAD)
		header++;
	return header;
}

Test(paging, hostile_programs_inside)
{
	for (size_t i = 0; i < sizeof(hostile) / sizeof(hostile[0]); i++) {
		const char *path = scratch_path("hostile");
		char file[512], ended[32];
		bool runs;
		size_t size;
		char *program = read_file(guest_program("exit"), &size);
		struct child *child;

		hostile[i].spoil((Elf64_Ehdr *)program, first_load(program));
		write_file(path, program, size);
		free(program);
		cr_assert_eq(chmod(path, 0755), 0);
		snprintf(file, sizeof(file), "%s:/hostile", path);
		child = run_bifold("--timeout", "20", "--file", file, busybox_path(), "sh", "-c",
				   "/hostile 3; echo ended with $?; echo alive");
		expect(child, 0, "alive");
		snprintf(ended, sizeof(ended), "ended with %d\n",
			 hostile[i].status ? hostile[i].status : OWN_STATUS);
		runs = strstr(child->out_text, ended) != NULL;
		cr_assert_eq(runs, hostile[i].status != 0, "%s: %s%s", hostile[i].name,
			     child->out_text, child->err_text);
		harness_forget();
	}
}

Test(paging, pages_of_a_gigabyte)
{
	struct child *child = run_bifold("--memory", "3G", guest_program("huge"), "1g-fork");

	if (strstr(child->out_text, "there is no page of 1 GiB"))
		cr_skip_test("the processor of this KVM has no pages of 1 GiB");
	expect(child, 0, "huge pages are right");
}
