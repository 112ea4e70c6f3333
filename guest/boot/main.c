/*
 * Quire, from its entry to the first instruction of init: read kernel_main() from top to bottom.
 */
#include "guest/cpu/apic.h"
#include "guest/cpu/clock.h"
#include "guest/cpu/cpu.h"
#include "guest/device/console.h"
#include "guest/device/virtio.h"
#include "guest/exec/exec.h"
#include "guest/exec/strings.h"
#include "guest/file/file.h"
#include "guest/lib/asm.h"
#include "guest/lib/errno.h"
#include "guest/lib/random.h"
#include "guest/lib/string.h"
#include "guest/memory/contiguous.h"
#include "guest/memory/page.h"
#include "guest/memory/replace.h"
#include "guest/memory/slab.h"
#include "guest/memory/table.h"
#include "guest/monitor/doorbell.h"
#include "guest/proc/proc.h"
#include "guest/process/process.h"
#include "guest/process/vector.h"
#include "guest/boot/start.h"

static struct start start;

#define DIRECT_BITS (PTE_P | PTE_W | PTE_A | PTE_D | PTE_PS | PTE_G)
#define GIGABYTE    (1ull << 30)

/* The first GiB of the direct map, beyond what boot.S holds. */
static void direct_map_init(uint64_t end)
{
	extern uint64_t direct_pd[];

	for (uint64_t at = 2 * LEAF_SIZE; at < MIN(end, GIGABYTE); at += LEAF_SIZE)
		direct_pd[at >> LEAF_SHIFT] = at | DIRECT_BITS;
}

/* Where the entry for an address's GiB is. Each 512 of them have a table. */
static uint64_t *direct_entry(uint64_t at)
{
	extern uint64_t boot_pml4[], direct_pdpt[];
	uint64_t *slot = &boot_pml4[DIRECT_SLOT + (at >> DIRECT_SLOT_SHIFT)];
	uint64_t *table = direct_pdpt;

	CHECK(at >> DIRECT_SLOT_SHIFT < DIRECT_SLOTS);
	if (at >> DIRECT_SLOT_SHIFT) {
		if (!*slot) {
			table = page_early();
			page_clear(table);
			*slot = ((uint64_t)table - DIRECT_BASE) | PTE_P | PTE_W | PTE_NX;
		}
		table = direct(*slot & PTE_FRAME);
	}
	return &table[at >> 30 & (TABLE_ENTRIES - 1)];
}

/* The other GiB: by 1 GiB pages where there are such, else by 2 MiB pages. Entries are written for
 * RAM only. */
static void direct_map_grow(uint64_t end)
{
	for (uint64_t at = GIGABYTE; at < end; at += GIGABYTE) {
		uint64_t *table;

		if (cpu_features.gigabyte_pages) {
			*direct_entry(at) = at | DIRECT_BITS;
			continue;
		}
		table = page_early();
		for (unsigned i = 0; i < TABLE_ENTRIES; i++)
			table[i] = (at + i * LEAF_SIZE) | DIRECT_BITS;
		*direct_entry(at) = ((uint64_t)table - DIRECT_BASE) | PTE_P | PTE_W;
	}
}

static int read_arguments(struct exec_strings *strings, const char *path)
{
	struct node *node;
	int error = node_lookup(node_root, path, true, &node);

	for (uint64_t at = 0, size; !error && at < node->content.size; at += size) {
		char *room = exec_strings_room(strings, &size);

		if (!room)
			return -ENOMEM;
		size = MIN(size, node->content.size - at);
		error = exec_read(node, at, room, size);
		for (uint64_t i = 0; i < size && !error; i++)
			strings->argument_count += !room[i];
		if (!error)
			error = exec_strings_take(strings, size);
	}
	return error ? error : node_remove(node, false);
}

static int add_arguments(struct exec_strings *strings)
{
	int error = 0;

	if (start.arguments)
		return read_arguments(strings, start.arguments);
	for (unsigned i = 0; i < start.argument_count && !error; i++)
		error = exec_strings_add(strings, start.argument[i]);
	strings->argument_count = start.argument_count;
	return error;
}

/* The last words are for hosts whose ring 0 has no XSAVE: where the monitor does not keep the upper
 * halves of the AVX registers either they are lost at a switch, and where it does they cost. So
 * glibc is told not to use them. */
static int init_strings(struct exec_strings *strings, bool emulated)
{
	static const char *const environment[] = {
		"PATH=/bin:/usr/bin:/sbin:/usr/sbin",
		"HOME=/",
		"TERM=dumb",
		"GLIBC_TUNABLES=glibc.cpu.hwcaps=-AVX,-AVX2,-AVX512F,-AVX512VL,-AVX512BW,-AVX512CD,"
		"-AVX512DQ,-AVX_Fast_Unaligned_Load,-AVX2_Usable,-AVX512F_Usable,-ERMS,-FSRM",
	};
	unsigned count = ARRAY_SIZE(environment) - !emulated;
	int error;

	exec_strings_init(strings, UINT64_MAX);
	error = add_arguments(strings);
	for (unsigned i = 0; i < count && !error; i++)
		error = exec_strings_add(strings, environment[i]);
	strings->environment_count = count;
	return error;
}

static void install(struct process *init, struct file *file, int fd)
{
	CHECK(file != NULL);
	CHECK(file_install(init->files, file, fd, false) == fd);
}

/* Descriptors 0, 1 and 2: the monitor's standard streams; or the console for all three. */
static void open_console(struct process *init, struct node *console)
{
	static const struct file_ops *const ops[] = { &console_in_ops, &console_out_ops,
						      &console_error_ops };
	struct file *file = NULL;

	init->files = file_table_create();
	CHECK(init->files != NULL);
	if (console) {
		file = file_create(console->ops, console, OPEN_READ_WRITE);
		CHECK(file != NULL && !console->ops->open(file));
	}
	for (unsigned i = 0; i < ARRAY_SIZE(ops); i++) {
		if (!console)
			file = file_create(ops[i], NULL, i == 0 ? OPEN_READ : OPEN_WRITE);
		else if (i > 0)
			file_get(file);
		install(init, file, i);
	}
}

static struct process *make_init(bool emulated, struct node *console)
{
	struct process *init = process_create(NULL);
	struct exec_strings strings;
	struct trap_frame frame;
	struct node *node;
	int error;

	CHECK(init != NULL);
	process_init = init;
	init->directory = node_get(node_root);
	open_console(init, console);
	error = init_strings(&strings, emulated);
	if (!error)
		error = node_lookup(node_root, start.init, true, &node);
	if (error)
		doorbell_no_init(-error, "%s: cannot be found (error %d)", start.init, -error);
	this_cpu()->current = init->threads;
	this_cpu()->faults = &init->threads->faults;
	error = exec_program(init, node, start.init, &strings, &frame);
	if (error)
		doorbell_no_init(-error, "%s: cannot be executed (error %d)", start.init, -error);
	exec_strings_finish(&strings);
	thread_begin(init->threads, &frame);
	return init;
}

NORETURN void kernel_main(uint64_t start_info);

void kernel_main(uint64_t start_info)
{
	struct doorbell_host host;
	struct page_range contiguous;
	struct process *init;
	struct node *console = NULL;
	bool alone;

	cpu_init(&cpus[0]);
	alone = !doorbell_init(&host);
	cpu_find_features(host.emulates);
	cpu_features.vector_by_monitor = host.keeps_vector;
	cpu_enable();
	start_read(start_info, &start);
	log_set_verbose(start.verbose);
	direct_map_init(start.memory_end);
	contiguous = contiguous_place(start.contiguous_bytes, start.usable, start.usable_count,
				      start.keep, start.keep_count);
	start.keep[start.keep_count++] = contiguous;
	page_init(start.usable, start.usable_count, start.keep, start.keep_count, !alone);
	direct_map_grow(start.memory_end);
	page_start();
	contiguous_init(contiguous);
	CHECK(vmap_registers(APIC_PHYSICAL, PAGE_SIZE) == apic(0));
	clock_init();
	vector_init();
	random_seed(rdtsc() ^ clock_wall_offset());
	node_init(direct(start.archive), start.archive_size);
	device_init();
	proc_init();
	virtio_init(start.device, start.device_count, start.usable, start.usable_count);
	if (start.console)
		console = console_choose(start.console);
	swap_init(start.swap_bytes);
	if (start.policy)
		replace_choose(start.policy);
	smp_start(host.cpu_count, idle_create, idle_run);
	init = make_init(host.emulates, console);
	doorbell_user_start();
	thread_start(init->threads);
}
