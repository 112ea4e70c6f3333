/*
 * The swap area: units of a few pages, each cut into pieces of one size class (multiples of
 * CLASS_BYTES), so that little is left over. A unit that is empty belongs to no class.
 */
#include "guest/memory/swap.h"
#include "guest/lib/string.h"
#include "guest/lib/compress.h"
#include "guest/memory/page.h"
#include "guest/memory/replace.h"
#include "guest/memory/slab.h"
#include "guest/monitor/doorbell.h"

#define CLASS_BYTES 256
#define CLASS_COUNT (PAGE_SIZE / CLASS_BYTES)
#define UNIT_ORDER  2
#define UNIT_PIECES (CLASS_COUNT << UNIT_ORDER) /* of the smallest class: a bit each */
#define SLOTS_EACH  4				/* slots there are for a page of the area */
#define NOBODY	    UINT32_MAX
/* Pages without room, one after the other, that make the area full: the next may compress better,
 * but to try all that are in memory would take long. */
#define REFUSALS_MAX 16

struct slot {
	uint32_t refs, length; /* bytes kept; 0: `value` repeated */
	uint32_t piece;	       /* unit * UNIT_PIECES + number in it */
	uint32_t check;
	uint64_t value; /* or, of a free slot, the next one */
	uint64_t stamp;
};

struct unit {
	uint64_t used;		    /* bits of pieces */
	uint32_t frame, next, prev; /* list of the class's units with room */
	uint32_t class;		    /* 0: empty */
};

bool swap_on;
uint64_t swap_pages_total, swap_pages_used, swap_bytes_used;
static struct slot *slots;
static struct unit *units;
static uint32_t unit_count, slot_count, slot_carved = 1, slot_first_free;
static unsigned refusals;		    /* since something was given back */
static uint32_t with_room[CLASS_COUNT + 1]; /* by class; of class 0 the empty ones */
static uint64_t room[COMPRESS_ROOM / 8];

static void list_add(unsigned class, uint32_t number)
{
	uint32_t first = with_room[class];

	units[number].next = first;
	units[number].prev = NOBODY;
	if (first != NOBODY)
		units[first].prev = number;
	with_room[class] = number;
}

static void list_remove(unsigned class, uint32_t number)
{
	struct unit *unit = &units[number];

	if (unit->next != NOBODY)
		units[unit->next].prev = unit->prev;
	if (unit->prev != NOBODY)
		units[unit->prev].next = unit->next;
	else
		with_room[class] = unit->next;
}

void swap_init(uint64_t bytes)
{
	uint64_t wanted = bytes >> PAGE_SHIFT, pages = MIN(wanted, page_free_total / 2);

	for (unsigned i = 0; i <= CLASS_COUNT; i++)
		with_room[i] = NOBODY;
	units = memory_alloc((pages >> UNIT_ORDER) * sizeof(*units));
	slots = memory_alloc((pages * SLOTS_EACH + 1) * sizeof(*slots));
	if (!pages || !units || !slots)
		return;
	while (unit_count < pages >> UNIT_ORDER) {
		struct page *page = page_alloc(UNIT_ORDER, PAGE_ANY);

		if (!page)
			break;
		units[unit_count] = (struct unit){ .frame = page_frame(page) };
		list_add(0, unit_count++);
	}
	swap_pages_total = (uint64_t)unit_count << UNIT_ORDER;
	slot_count = swap_pages_total * SLOTS_EACH;
	swap_on = unit_count > 0;
}

static unsigned capacity(unsigned class)
{
	return UNIT_PIECES / class;
}

static uint64_t all_pieces(unsigned class)
{
	return UINT64_MAX >> (64 - capacity(class));
}

static uint8_t *piece_address(uint32_t piece)
{
	struct unit *unit = &units[piece / UNIT_PIECES];

	return (uint8_t *)direct((uint64_t)unit->frame << PAGE_SHIFT) +
	       piece % UNIT_PIECES * unit->class * CLASS_BYTES;
}

static unsigned class_of(unsigned length)
{
	return (length + CLASS_BYTES - 1) / CLASS_BYTES;
}

static bool piece_take(unsigned class, uint32_t *piece)
{
	uint32_t number = with_room[class];
	struct unit *unit;
	unsigned at;

	if (number == NOBODY) {
		number = with_room[0];
		if (number == NOBODY)
			return false;
		list_remove(0, number);
		units[number].class = class;
		units[number].used = 0;
		list_add(class, number);
	}
	unit = &units[number];
	at = __builtin_ctzll(~unit->used);
	unit->used |= 1ull << at;
	if (unit->used == all_pieces(class))
		list_remove(class, number);
	*piece = number * UNIT_PIECES + at;
	swap_bytes_used += class * CLASS_BYTES;
	return true;
}

static void piece_give(uint32_t piece)
{
	uint32_t number = piece / UNIT_PIECES;
	struct unit *unit = &units[number];
	unsigned class = unit->class;

	if (unit->used == all_pieces(class))
		list_add(class, number);
	unit->used &= ~(1ull << piece % UNIT_PIECES);
	swap_bytes_used -= class * CLASS_BYTES;
	if (unit->used)
		return;
	list_remove(class, number);
	unit->class = 0;
	list_add(0, number);
}

static uint32_t check_of(const uint8_t *bytes, unsigned length)
{
	uint64_t sum = length, word;

	for (; length >= 8; length -= 8, bytes += 8) {
		__builtin_memcpy(&word, bytes, 8);
		sum = (sum << 7 | sum >> 57) ^ word;
	}
	for (; length > 0; length--)
		sum = (sum << 7 | sum >> 57) ^ *bytes++;
	return (uint32_t)(sum ^ sum >> 32);
}

/* One instruction tells whether all words are the first one. */
static bool is_same_filled(const uint64_t *page)
{
	uint64_t words = PAGE_SIZE / 8;
	const uint64_t *at = page;
	bool same;

	__asm__ volatile("repe scasq"
			 : "+D"(at), "+c"(words), "=@cce"(same)
			 : "a"(*page)
			 : "memory");
	return same;
}

static uint32_t slot_take(void)
{
	uint32_t number = slot_first_free;

	if (number)
		slot_first_free = slots[number].value;
	else if (slot_carved <= slot_count)
		number = slot_carved++;
	else
		return 0;
	swap_pages_used++;
	slots[number] = (struct slot){ .refs = 1, .stamp = replace_evictions };
	return number;
}

bool swap_is_full(void)
{
	return refusals >= REFUSALS_MAX;
}

static uint32_t refuse(uint32_t number)
{
	unsigned count = refusals + 1;

	if (number)
		swap_free(number);
	refusals = count;
	return 0;
}

uint32_t swap_store(const void *page)
{
	uint32_t number = slot_take();
	struct slot *slot = &slots[number];
	const uint8_t *bytes = (const uint8_t *)room;
	unsigned length;

	if (!number)
		return refuse(0);
	if (is_same_filled(page)) {
		slot->value = *(const uint64_t *)page;
		return number;
	}
	length = compress_page(page, (uint8_t *)room);
	if (length >= PAGE_SIZE) {
		length = PAGE_SIZE;
		bytes = page;
	}
	if (!piece_take(class_of(length), &slot->piece))
		return refuse(number);
	slot->length = length;
	slot->check = check_of(bytes, length);
	memcpy(piece_address(slot->piece), bytes, length);
	return number;
}

bool swap_in(uint32_t number, void *page)
{
	const struct slot *slot = &slots[number];
	const uint8_t *bytes;

	CHECK(number > 0 && number < slot_carved && slot->refs > 0);
	if (!slot->length) {
		uint64_t *to = page, words = PAGE_SIZE / 8;

		__asm__ volatile("rep stosq" : "+D"(to), "+c"(words) : "a"(slot->value) : "memory");
		return true;
	}
	bytes = piece_address(slot->piece);
	if (check_of(bytes, slot->length) != slot->check)
		panic("slot %u of the swap is damaged: its checksum is wrong", number);
	if (slot->length == PAGE_SIZE)
		memcpy(page, bytes, PAGE_SIZE);
	else if (!decompress_page(bytes, slot->length, page))
		panic("slot %u of the swap is damaged: it cannot be decompressed", number);
	return true;
}

void swap_dup(uint32_t number)
{
	slots[number].refs++;
}

void swap_free(uint32_t number)
{
	struct slot *slot = &slots[number];

	CHECK(slot->refs > 0);
	if (--slot->refs > 0)
		return;
	if (slot->length)
		piece_give(slot->piece);
	slot->value = slot_first_free;
	slot_first_free = number;
	swap_pages_used--;
	refusals = 0;
}

uint64_t swap_stamp(uint32_t number)
{
	return slots[number].stamp;
}
