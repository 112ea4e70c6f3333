/* Reading PVH's start info and the command line (guest/abi.h has its form). */
#include "guest/boot/start.h"
#include "guest/cpu/cpu.h"
#include "guest/device/balloon.h"
#include "guest/lib/string.h"
#include "guest/memory/space.h"
#include "guest/monitor/doorbell.h"

#define START_MAGIC   0x336ec578
#define MEMORY_USABLE 1
#define LINE_MAX      32768

struct start_info {
	uint32_t magic, version, flags, module_count;
	uint64_t modules, command_line, rsdp, memory_map;
	uint32_t memory_count, reserved;
};

struct module {
	uint64_t address, size, command_line, reserved;
};

struct memory_entry {
	uint64_t address, size;
	uint32_t type, reserved;
};

extern char image_end[];

static char line[LINE_MAX];

static void read_memory(const struct start_info *info, struct start *start)
{
	const struct memory_entry *entry = direct(info->memory_map);

	for (unsigned i = 0; i < info->memory_count && start->usable_count < START_RANGE_MAX; i++) {
		if (entry[i].type != MEMORY_USABLE)
			continue;
		start->usable[start->usable_count++] =
			(struct page_range){ entry[i].address, entry[i].address + entry[i].size };
		start->memory_end = MAX(start->memory_end, entry[i].address + entry[i].size);
	}
	/* The first unit of the direct map holds the loader's own data, the second the image. */
	start->keep[start->keep_count++] = (struct page_range){ 0, IMAGE_PHYS + (2 << 20) };
}

static void read_archive(const struct start_info *info, struct start *start)
{
	const struct module *module = direct(info->modules);

	if (info->module_count == 0)
		return;
	start->archive = module->address;
	start->archive_size = module->size;
	start->keep[start->keep_count++] =
		(struct page_range){ ROUND_DOWN(module->address, PAGE_SIZE),
				     ROUND_UP(module->address + module->size, PAGE_SIZE) };
}

/*
 * Takes the next word out of the line, undoing its backslashes; \0 is nothing. NULL at the end.
 */
static char *next_word(const char **text, char **to)
{
	char *word = *to;

	while (**text == ' ')
		(*text)++;
	if (!**text)
		return NULL;
	for (; **text && **text != ' '; (*text)++) {
		if (**text == '\\' && (*text)[1] && *++(*text) == '0')
			continue;
		*(*to)++ = **text;
	}
	*(*to)++ = 0;
	return word;
}

/* Bytes, perhaps with K, M or G behind. */
static uint64_t read_size(const char *text)
{
	uint64_t value = 0;

	for (; *text >= '0' && *text <= '9'; text++)
		value = value * 10 + (*text - '0');
	return *text == 'K'   ? value << 10
	       : *text == 'M' ? value << 20
	       : *text == 'G' ? value << 30
			      : value;
}

static void add_device(struct start *start, const char *place)
{
	if (start->device_count < DEVICE_MAX)
		start->device[start->device_count++] = place;
	else
		log_line(QUIRE_LEVEL_ERROR, "virtio_mmio.device=%s is ignored: too many", place);
}

static void read_command_line(const char *text, struct start *start)
{
	bool options = true;
	char *to = line, *word;

	if (strlen(text) >= LINE_MAX)
		panic("the command line is longer than %d bytes", LINE_MAX - 1);
	while ((word = next_word(&text, &to))) {
		if (!options) {
			if (start->argument_count == START_ARGUMENT_MAX)
				panic("more than %d arguments", START_ARGUMENT_MAX);
			start->argument[start->argument_count++] = word;
		} else if (!strcmp(word, "--")) {
			options = false;
		} else if (!strncmp(word, "init=", 5)) {
			start->init = word + 5;
		} else if (!strncmp(word, "arguments=", 10)) {
			start->arguments = word + 10;
		} else if (!strncmp(word, "swap=", 5)) {
			start->swap_bytes = read_size(word + 5);
		} else if (!strncmp(word, "policy=", 7)) {
			start->policy = word + 7;
		} else if (!strncmp(word, "contiguous=", 11)) {
			start->contiguous_bytes = read_size(word + 11);
		} else if (!strncmp(word, "console=", 8)) {
			start->console = word + 8;
		} else if (!strncmp(word, "balloon_report_order=", 21)) {
			balloon_report_order = read_size(word + 21);
		} else if (!strncmp(word, "virtio_mmio.device=", 19)) {
			add_device(start, word + 19);
		} else if (!strcmp(word, "verbose")) {
			start->verbose = true;
		} else if (!strcmp(word, "norandmaps")) {
			space_randomise = false;
		} else if (!strcmp(word, "nopcid")) {
			cpu_features.pcid = false; /* CR4 may have it: every CR3 is of tag 0 then */
		}
	}
	if (start->argument_count == 0)
		start->argument[start->argument_count++] = start->init;
}

void start_read(uint64_t address, struct start *start)
{
	const struct start_info *info = direct(address);

	if (info->magic != START_MAGIC)
		panic("no PVH start info at %lx", address);
	start->init = "/init";
	read_memory(info, start);
	read_archive(info, start);
	if (info->command_line)
		read_command_line(direct(info->command_line), start);
}
