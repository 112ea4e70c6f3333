#include "vmm/ask/maps.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/units.h"
#include "vmm/common/json.h"
#include "vmm/common/words.h"

#define LINE_END 80

static uint64_t number(const json_t *object, const char *name)
{
	return (uint64_t)json_number(object, name);
}

static char flag(const json_t *range, const char *name, char letter)
{
	return json_truth(range, name) ? letter : '-';
}

/* "245 mapped, 3 swapped" */
static void print_counts(const json_t *counts, const char *between, FILE *out)
{
	const char *name, *separator = "";
	const json_t *count;

	json_object_foreach((json_t *)(uintptr_t)counts, name, count)
	{
		fprintf(out, "%s%" JSON_INTEGER_FORMAT "%s%s", separator, json_integer_value(count),
			between, word_text(name));
		separator = ", ";
	}
}

/* As many to a line as fit, from the column on. */
static void print_frames(const json_t *counts, int column, FILE *out)
{
	const char *name;
	const json_t *count;
	int at = column, left = (int)json_object_size(counts);

	json_object_foreach((json_t *)(uintptr_t)counts, name, count)
	{
		char text[64];
		int length =
			snprintf(text, sizeof(text), "%" JSON_INTEGER_FORMAT " %s%s",
				 json_integer_value(count), word_text(name), --left > 0 ? "," : "");

		if (at > column && at + 1 + length > LINE_END) {
			fprintf(out, "\n%*s", column, "");
			at = column;
		}
		at += fprintf(out, "%s%s", at > column ? " " : "", text);
	}
	fputc('\n', out);
}

static void print_range(const json_t *range, FILE *out)
{
	char size[UNITS_TEXT_SIZE], pages[64] = "";
	FILE *page_out = fmemopen(pages, sizeof(pages), "w");
	int column;

	if (page_out != NULL) {
		print_counts(json_object_get(range, "pages"), " x ", page_out);
		fclose(page_out);
	}
	column = fprintf(out, "%-18s %10s  %c%c%c%c  %-16s ", json_text(range, "start"),
			 units_format_size(number(range, "bytes"), size), flag(range, "user", 'u'),
			 'r', flag(range, "write", 'w'), flag(range, "execute", 'x'), pages);
	print_frames(json_object_get(range, "frames"), column, out);
}

static void print_flaws(const json_t *maps, FILE *out)
{
	static const struct {
		const char *name, *text;
	} flaws[] = {
		{ "in_itself", "entries lead back to a table above: not followed" },
		{ "reserved", "entries have reserved bits set: not followed" },
		{ "no_table", "tables lie where the guest has no memory" },
		{ "unreadable", "tables cannot be read back" },
	};

	for (size_t i = 0; i < sizeof(flaws) / sizeof(flaws[0]); i++)
		if (number(maps, flaws[i].name) > 0)
			fprintf(out, "%" PRIu64 " %s\n", number(maps, flaws[i].name),
				flaws[i].text);
	if (json_truth(maps, "cut"))
		fputs("there is more: what is shown ends where counting was given up\n", out);
}

int maps_print(const json_t *maps, FILE *out)
{
	const json_t *ranges = json_object_get(maps, "ranges"), *range;
	size_t i;

	if (!json_is_array(ranges))
		return -EINVAL;
	fprintf(out, "vCPU %" PRIu64 ", CR3 %s: %zu ranges, %" PRIu64 " tables\n",
		number(maps, "vcpu"), json_text(maps, "cr3"), json_array_size(ranges),
		number(maps, "tables"));
	if (!json_truth(maps, "followed"))
		fputs("the vCPU does not use four-level page tables\n", out);
	if (json_array_size(ranges) > 0)
		fprintf(out, "%-18s %10s  %-4s  %-16s %s\n", "first", "size", "may", "guest pages",
			"frames of 4 KiB");
	json_array_foreach(ranges, i, range) print_range(range, out);
	print_flaws(maps, out);
	return 0;
}
