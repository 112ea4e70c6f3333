/* The state of a running guest, for people. */
#include "base/units.h"
#include "vmm/common/arguments.h"
#include "vmm/common/json.h"
#include "vmm/common/report_table.h"
#include "vmm/ask/stat.h"
#include "vmm/common/words.h"

void stat_format_head(const json_t *stat, char *text, size_t size)
{
	const json_t *guest = json_object_get(stat, "guest");
	const char *name = json_text(guest, "name"), *kernel = json_text(guest, "kernel");
	const char *slash = strrchr(kernel, '/');
	bool alone = strcmp(name, slash != NULL ? slash + 1 : kernel) == 0;
	uint64_t cpus = json_count(guest, "cpus");
	char up[UNITS_TEXT_SIZE];

	snprintf(text, size, "%s, up %s: %s%s%s, %llu CPU%s, process %llu",
		 json_text(stat, "state"), units_format_ns(json_count(stat, "wall_ns"), up), name,
		 alone ? "" : " on ", alone ? "" : kernel, (unsigned long long)cpus,
		 cpus == 1 ? "" : "s", (unsigned long long)json_count(stat, "pid"));
}

static void frame_rows(const json_t *frames, FILE *file)
{
	uint64_t total = json_count(frames, "total");

	if (total == 0)
		return;
	fprintf(file, "\n  %-22s %12s\n", "pages", "of 4 KiB");
	for (size_t i = 0; i < WORDS_OF_FRAMES; i++) {
		uint64_t count = json_count(frames, words_of_frames[i].name);

		fprintf(file, "  %-22s %12llu %6.1f %%\n", words_of_frames[i].text,
			(unsigned long long)count, 100.0 * (double)count / (double)total);
	}
}

static void balloon_rows(const json_t *balloon, FILE *file)
{
	const json_t *told = json_object_get(balloon, "statistics");
	char text[3][UNITS_TEXT_SIZE];

	if (!json_is_object(balloon))
		return;
	fprintf(file, "\n  balloon: %s of %s asked for",
		units_format_size(json_count(balloon, "actual_bytes"), text[0]),
		units_format_size(json_count(balloon, "target_bytes"), text[1]));
	if (!json_truth(balloon, "ready"))
		fprintf(file, "; the guest has no driver for it");
	else if (json_is_object(told))
		fprintf(file, "\n  the guest could spare %s, it said %s ago",
			units_format_size(json_count(told, "available_bytes"), text[0]),
			units_format_ns(json_count(told, "age_ns"), text[1]));
	fprintf(file, "\n");
	if (json_is_string(json_object_get(balloon, "auto")))
		fprintf(file, "  which bifold chooses: %s\n", json_text(balloon, "auto"));
}

static void disk_rows(const json_t *disks, FILE *file)
{
	size_t i;
	json_t *disk;

	json_array_foreach((json_t *)(uintptr_t)disks, i, disk)
	{
		char read[UNITS_TEXT_SIZE], written[UNITS_TEXT_SIZE];

		fprintf(file, "  disk %zu: %s read, %s written, %llu flushes, %llu errors\n", i,
			units_format_size(json_count(disk, "read_bytes"), read),
			units_format_size(json_count(disk, "written_bytes"), written),
			(unsigned long long)json_count(disk, "flushes"),
			(unsigned long long)json_count(disk, "errors"));
	}
}

static void kvm_row(const json_t *kvm, FILE *file)
{
	fprintf(file,
		"  KVM: %llu exits, %llu second-layer faults; mappings: %llu of 4 KiB, %llu of "
		"2 MiB\n",
		(unsigned long long)json_count(kvm, "exits"),
		(unsigned long long)json_count(kvm, "pf_taken"),
		(unsigned long long)json_count(kvm, "pages_4k"),
		(unsigned long long)json_count(kvm, "pages_2m"));
}

void stat_print(const json_t *stat, FILE *file)
{
	struct arguments_fit fit;
	char head[512];

	file = arguments_fit_begin(&fit, file);
	stat_format_head(stat, head, sizeof(head));
	fprintf(file, "%s\n", head);
	if (json_truth(stat, "managed"))
		report_print_table(stat, file);
	else
		fprintf(file, "\n  its memory is the host kernel's to manage\n");
	kvm_row(json_object_get(stat, "kvm"), file);
	frame_rows(json_object_get(stat, "frames"), file);
	balloon_rows(json_object_get(stat, "balloon"), file);
	disk_rows(json_object_get(stat, "disks"), file);
	arguments_fit_end(&fit);
}
