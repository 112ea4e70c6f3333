/*
 * Replacement at work on a few frames (/proc/sys/vm/window): Belady's anomaly under FIFO - more
 * frames, more faults - and none under the approximation of LRU, as the
 * stack property promises for LRU itself (10 and 8); clean pages dropped
 * without being stored again; and every page's content after heavy swapping. Needs swap=SIZE.
 */
#include "guest/programs/runtime/check.h"

#define PAGES_MANY 300
#define FRAMES_FEW 40

static uint64_t counter(const char *name)
{
	long value = file_number("/proc/vmstat", name);

	if (value < 0) {
		print("replacement: /proc/vmstat has no %s\n", name);
		exit(1);
	}
	return value;
}

/* µs that somebody waited for memory, of /proc/pressure/memory; it must look as Linux's does. */
static uint64_t pressure(void)
{
	const char *at = read_text("/proc/pressure/memory");
	uint64_t value = 0;

	if (!begins(at, "some avg10=")) {
		print("replacement: /proc/pressure/memory is not of Linux's form\n");
		exit(1);
	}
	while (*at && !begins(at, " total="))
		at++;
	for (at += 7; *at >= '0' && *at <= '9'; at++)
		value = value * 10 + (uint64_t)(*at - '0');
	return value;
}

static void set_window(const void *start, uint64_t length, uint64_t frames)
{
	char words[80], *to = words;

	to += put_number(to, (uint64_t)start);
	*to++ = ' ';
	to += put_number(to, length);
	*to++ = ' ';
	put_number(to, frames);
	must_write("/proc/sys/vm/window", words);
}

/* Faults of the reference string: first touches, and pages that come back. */
static unsigned faults(const char *policy, unsigned frames)
{
	static const uint8_t string[] = { 1, 2, 3, 4, 1, 2, 5, 1, 2, 3, 4, 5 };
	volatile char *memory = map_memory(5 * PAGE, PROT_READ | PROT_WRITE);
	uint64_t before;

	must_write("/proc/sys/vm/replacement", policy);
	set_window((const void *)memory, 5 * PAGE, frames);
	before = counter("pswpin");
	for (unsigned i = 0; i < sizeof(string); i++)
		memory[(string[i] - 1) * PAGE] = (char)i;
	set_window(0, 0, 0);
	return 5 + (unsigned)(counter("pswpin") - before);
}

static bool belady(void)
{
	unsigned fifo3 = faults("fifo", 3), fifo4 = faults("fifo", 4);
	unsigned lru3 = faults("lru", 3), lru4 = faults("lru", 4);
	unsigned clock3 = faults("clock", 3), clock4 = faults("clock", 4);

	print("  policy   faults with 3 frames   with 4\n");
	print("  fifo     %20u   %6u   %s\n", fifo3, fifo4,
	      fifo4 > fifo3 ? "Belady's anomaly" : "");
	print("  lru      %20u   %6u\n", lru3, lru4);
	print("  clock    %20u   %6u\n", clock3, clock4);
	return fifo3 == 9 && fifo4 == 10 && lru4 <= lru3;
}

/* Word `i` of page `page`: zeros, one word, text, or noise. */
static uint64_t content(unsigned page, unsigned i)
{
	switch (page % 4) {
	case 0:
		return 0;
	case 1:
		return 0x0101010101010101ull * page;
	case 2:
		return 0x2020656874202020ull + (i * 7 + page) % 100;
	default:
		return mix(page * 1000ull + i);
	}
}

static bool heavy(const char *policy)
{
	uint64_t *memory = map_memory(PAGES_MANY * PAGE, PROT_READ | PROT_WRITE);
	uint64_t drops, out, waited;

	must_write("/proc/sys/vm/replacement", policy);
	set_window(memory, PAGES_MANY * PAGE, FRAMES_FEW);
	for (unsigned page = 0; page < PAGES_MANY; page++) {
		for (unsigned i = 0; i < PAGE / 8; i++)
			memory[page * (PAGE / 8) + i] = content(page, i);
	}
	drops = counter("swap_clean_drops");
	out = counter("pswpout");
	waited = pressure();
	for (unsigned page = 0; page < PAGES_MANY; page++) {
		for (unsigned i = 0; i < PAGE / 8; i++) {
			if (memory[page * (PAGE / 8) + i] == content(page, i))
				continue;
			print("replacement: page %u came back wrong under %s\n", page, policy);
			return false;
		}
	}
	drops = counter("swap_clean_drops") - drops;
	out = counter("pswpout") - out;
	waited = pressure() - waited;
	set_window(0, 0, 0);
	print("  %s: %lu pages out while they were read, %lu of them clean, %lu us waited\n",
	      policy, out, drops, waited);
	syscall3(SYS_MUNMAP, memory, PAGES_MANY * PAGE, 0);
	return out > 0 && drops > out / 2 && waited > 0;
}

int main(int argc, char **argv)
{
	bool right = belady() && heavy("clock") && heavy("fifo") && heavy("lru");

	if (!right || counter("workingset_refault_anon") == 0) {
		print("replacement: something is wrong\n");
		return 1;
	}
	print("replacement: all is right\n");
	return 0;
}
