/*
 * A Multiboot kernel (long_mode.S) that uses the memory its loader tells of: it writes to each
 * page of every piece of RAM, looks at all of them again, and says how many were right. By the
 * words of its command line:
 *
 *   down    from the last page to the first
 *   edges   only the pages within 16 MiB of where a piece of RAM begins or ends
 */
#include <stdbool.h>
#include <stdint.h>

#define PAGE	   4096ull
#define EDGE	   (16ull << 20)
#define RAM	   1
#define PIECES_MAX 16
#define SERIAL	   0x3f8

struct info {
	uint32_t flags, mem_lower, mem_upper, boot_device, command_line;
	uint32_t module_count, modules, symbols[4], map_length, map;
};

struct memory {
	uint32_t size; /* of what follows */
	uint64_t address, length;
	uint32_t type;
} __attribute__((packed));

struct piece {
	uint64_t first, end;
};

extern char end[]; /* the linker's: of this kernel */

static struct piece pieces[PIECES_MAX];
static unsigned piece_count;

static void put(char c)
{
	__asm__ volatile("outb %0, %w1" ::"a"(c), "d"(SERIAL));
}

static void put_text(const char *text)
{
	while (*text != '\0')
		put(*text++);
}

static void put_number(uint64_t number)
{
	char digits[24];
	unsigned n = 0;

	do {
		digits[n++] = (char)('0' + number % 10);
		number /= 10;
	} while (number != 0);
	while (n > 0)
		put(digits[--n]);
}

static bool has_word(const char *line, const char *word)
{
	for (; *line != '\0'; line++) {
		unsigned i = 0;

		while (word[i] != '\0' && line[i] == word[i])
			i++;
		if (word[i] == '\0')
			return true;
	}
	return false;
}

static void add_piece(uint64_t first, uint64_t last)
{
	if (first < last && piece_count < PIECES_MAX)
		pieces[piece_count++] = (struct piece){ first, last };
}

/* In order; what lies below the kernel's end is left to the loader. */
static void find_pieces(const struct info *info, bool edges)
{
	uint64_t own_end = ((uint64_t)end + PAGE - 1) & ~(PAGE - 1);

	for (uint32_t at = 0; at < info->map_length;) {
		const struct memory *memory = (const void *)(uint64_t)(info->map + at);
		uint64_t first = memory->address, last = first + memory->length;

		at += memory->size + sizeof(memory->size);
		if (first < own_end)
			first = own_end;
		if (memory->type != RAM || first >= last)
			continue;
		if (!edges || last - first <= 2 * EDGE) {
			add_piece(first, last);
		} else {
			add_piece(first, first + EDGE);
			add_piece(last - EDGE, last);
		}
	}
}

/* A word somewhere in the page, and a different one for each page. Returns whether it was right. */
static bool use(uint64_t page, bool write)
{
	volatile uint64_t *word = (volatile uint64_t *)(page + (page >> 9 & 0xff8));
	uint64_t value = page * 0x9e3779b97f4a7c15ull;

	if (write)
		*word = value;
	return *word == value;
}

static uint64_t use_all(bool down, bool write)
{
	uint64_t right = 0;

	for (unsigned i = 0; i < piece_count; i++) {
		const struct piece *piece = &pieces[down ? piece_count - 1 - i : i];

		for (uint64_t at = piece->first; at < piece->end; at += PAGE)
			right += use(down ? piece->end - PAGE - (at - piece->first) : at, write);
	}
	return right;
}

void main(const struct info *info)
{
	const char *line = (const char *)(uint64_t)info->command_line;
	bool down = has_word(line, "down");
	uint64_t pages = 0;

	find_pieces(info, has_word(line, "edges"));
	for (unsigned i = 0; i < piece_count; i++)
		pages += (pieces[i].end - pieces[i].first) / PAGE;
	put_number(pages);
	put_text(" pages up to ");
	put_number(pieces[piece_count - 1].end >> 10);
	put_text("K");
	if (use_all(down, true) == pages && use_all(down, false) == pages)
		put_text(" are right\n");
	else
		put_text(" are WRONG\n");
}
