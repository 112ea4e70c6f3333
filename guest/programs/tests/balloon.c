/*
 * A load for the balloon, told what to do by lines of its input; it says "done" after each:
 *
 *     touch SIZE    more memory, every page marked, after it was seen to be zero
 *     check         whether every page still holds its mark
 *     again         other marks, everywhere
 *     free          gives all of it back
 *     await SIZE    waits until so much is in the balloon, checking its pages all the while
 *     below SIZE    waits until less than that is in it
 *     report SIZE   waits until so much was reported since the last time
 *     numbers       what /proc says
 *     quit
 */
#include "guest/programs/runtime/tasks.h"

#define AREAS	 64
#define PATIENCE 30000 /* ms */

static struct area {
	char *memory;
	size_t pages;
	uint64_t seed;
} area[AREAS];
static unsigned count;
static uint64_t seed;
static long reported;

static bool read_line(char *line, size_t size)
{
	size_t at = 0;

	while (at < size - 1 && call(READ, 0, line + at, 1) == 1 && line[at] != '\n')
		at++;
	line[at] = 0;
	return at > 0;
}

static void touch(uint64_t size)
{
	struct area *new = &area[count];

	new->pages = size / PAGE;
	new->memory = count < AREAS ? map_memory(size, RW) : NULL;
	new->seed = seed += 1ul << 40;
	expect(new->memory != NULL, "no memory");
	if (!new->memory)
		return;
	/* One by one: all of it at once would be reading first. */
	for (size_t i = 0; i < new->pages; i++) {
		expect(is_zero(new->memory + i *PAGE, PAGE), "a new page is not zero");
		mark(new->memory + i *PAGE, 1, new->seed + i);
	}
	count++;
}

static void check(void)
{
	for (unsigned i = 0; i < count; i++)
		expect(marked(area[i].memory, area[i].pages, area[i].seed), "a page's mark");
}

static void again(void)
{
	for (unsigned i = 0; i < count; i++)
		mark(area[i].memory, area[i].pages, area[i].seed = seed += 1ul << 40);
}

static void free_all(void)
{
	while (count > 0) {
		struct area *last = &area[--count];

		expect(call(MUNMAP, last->memory, last->pages * PAGE) == 0, "munmap");
	}
}

static uint64_t in_balloon(void)
{
	return (uint64_t)file_number("/proc/meminfo", "Balloon:") << 10;
}

static uint64_t in_reports(void)
{
	return (file_number("/proc/vmstat", "buddy_report") - reported) * PAGE;
}

static void await(uint64_t (*amount)(void), uint64_t size, bool below)
{
	for (unsigned i = 0; i < PATIENCE / 20; i++) {
		uint64_t there = amount();

		if (below ? there < size : there >= size)
			return;
		check();
		nap(20);
	}
	print("%lu bytes\n", amount());
	expect(false, "it does not come to that");
}

static void numbers(void)
{
	print("MemTotal %ld kB, MemFree %ld kB, Balloon %ld kB\n",
	      file_number("/proc/meminfo", "MemTotal:"), file_number("/proc/meminfo", "MemFree:"),
	      file_number("/proc/meminfo", "Balloon:"));
	print("inflated %ld, deflated %ld, reported %ld, killed %ld\n",
	      file_number("/proc/vmstat", "balloon_inflate"),
	      file_number("/proc/vmstat", "balloon_deflate"),
	      file_number("/proc/vmstat", "buddy_report"), file_number("/proc/vmstat", "oom_kill"));
}

static bool obey(const char *line)
{
	const char *space = line;
	uint64_t size = 0;

	while (*space && *space != ' ')
		space++;
	if (*space)
		expect(parse_size(space + 1, &size), "a size");
	if (begins(line, "touch "))
		touch(size);
	else if (equal(line, "check"))
		check();
	else if (equal(line, "again"))
		again();
	else if (equal(line, "free"))
		free_all();
	else if (begins(line, "await "))
		await(in_balloon, size, false);
	else if (begins(line, "below "))
		await(in_balloon, size, true);
	else if (begins(line, "report "))
		await(in_reports, size, false);
	else if (equal(line, "numbers"))
		numbers();
	else
		return false;
	reported = file_number("/proc/vmstat", "buddy_report");
	print("done %s\n", line);
	return true;
}

int main(int argc, char **argv)
{
	char line[100];

	print("ready\n");
	while (read_line(line, sizeof(line)) && obey(line))
		;
	print(failures ? "%u wrong\n" : "the balloon is right\n", failures);
	return failures != 0;
}
