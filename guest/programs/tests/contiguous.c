/*
 * The region of contiguous=SIZE under its three fits: one random sequence of requests, of which
 * each ends after a while, is played under first, best and worst fit. No run may overlap another,
 * each must lie where its fit says, the kernel's numbers must be those that a map of the pages
 * gives, and in the end all is one hole again.
 *
 *     contiguous [SEED [REQUESTS]]
 */
#include "guest/programs/runtime/check.h"

#define REQUESTS     160
#define REQUESTS_MAX 2000
#define PAGES_MAX    (64 << 10)
#define LIFE	     110 /* the longest; with the sizes below some nine tenths are wanted */
#define PROC	     "/proc/contiguous"
#define RUNS	     "/proc/contiguous_runs"

struct request {
	unsigned pages, end; /* gone before this step */
	unsigned number;     /* of its run; 0: none */
	unsigned first;
};

struct totals {
	unsigned failed, in_pieces, samples;
	uint64_t holes, largest, fragmentation; /* thousandths */
};

static struct request request[REQUESTS_MAX];
static unsigned requests = REQUESTS, pages;
static uint16_t owner[PAGES_MAX]; /* of each page: request + 1, or 0 */

/* The holes in the map of owners, in pages. */
struct holes {
	unsigned count, free, largest;
};

static unsigned hole_at(unsigned page)
{
	unsigned end = page;

	while (end < pages && !owner[end])
		end++;
	return end - page;
}

static struct holes look(void)
{
	struct holes holes = { 0 };

	for (unsigned page = 0, length; page < pages; page += length ? length : 1) {
		length = hole_at(page);
		holes.count += length > 0;
		holes.free += length;
		holes.largest = length > holes.largest ? length : holes.largest;
	}
	return holes;
}

/* Where the fit puts so many pages; -1: nowhere. */
static long place(const char *fit, unsigned wanted)
{
	unsigned best_length = 0;
	long best = -1;

	for (unsigned page = 0, length; page < pages; page += length ? length : 1) {
		length = hole_at(page);
		if (length < wanted)
			continue;
		if (best < 0 || (equal(fit, "best") && length < best_length) ||
		    (equal(fit, "worst") && length > best_length)) {
			best = page;
			best_length = length;
		}
	}
	return best;
}

static char *put(char *to, const char *words, unsigned number)
{
	char digits[12];
	unsigned count = 0;

	while (*words)
		*to++ = *words++;
	do {
		digits[count++] = (char)('0' + number % 10);
		number /= 10;
	} while (number);
	while (count > 0)
		*to++ = digits[--count];
	*to = 0;
	return to;
}

static bool command(const char *words, unsigned number)
{
	char text[40];

	put(text, words, number);
	return write_text(PROC, text);
}

static void set_owner(const struct request *one, uint16_t value)
{
	for (unsigned page = one->first; page < one->first + one->pages; page++)
		owner[page] = value;
}

static void end_request(struct request *one)
{
	if (!one->number)
		return;
	expect(command("free ", one->number), "a run cannot be freed");
	set_owner(one, 0);
	one->number = 0;
}

/* It is granted: the `text` says where. */
static void take_run(struct request *one, long where, const char *text)
{
	const char *at = line_of(text, "last ");

	if (!at)
		exit(1);
	one->number = (unsigned)parse_number(&at);
	one->first = (unsigned)parse_number(&at);
	expect(where == (long)one->first, "a run is not where its fit puts it");
	for (unsigned page = one->first; page < one->first + one->pages; page++) {
		if (page < pages && !owner[page])
			continue;
		expect(false, "a run overlaps another, or leaves the region");
		exit(1);
	}
	set_owner(one, (uint16_t)(one - request + 1));
}

static long number_in(const char *text, const char *name)
{
	const char *line = line_of(text, name);

	return line ? parse_number(&line) : -1;
}

/* The kernel's numbers against the map's. */
/* The kernel's numbers against the map's. */
static void compare(const char *text, struct totals *totals)
{
	const char *at = line_of(text, "external_fragmentation");
	struct holes holes = look();
	unsigned share = holes.free ? (holes.free - holes.largest) * 1000 / holes.free : 0;
	long whole = parse_number(&at);

	expect(number_in(text, "holes") == holes.count && number_in(text, "free") == holes.free &&
		       number_in(text, "largest_hole") == holes.largest,
	       "the kernel's holes are not those of the map");
	expect(whole * 1000 + parse_number(&at) == share, "external fragmentation is wrong");
	totals->samples++;
	totals->holes += holes.count;
	totals->largest += holes.largest;
	totals->fragmentation += share;
}

static void begin_request(struct request *one, const char *fit, struct totals *totals)
{
	long where = place(fit, one->pages);
	bool granted = command("alloc ", one->pages);
	const char *text = read_text(PROC);

	expect(granted == (where >= 0), "a request fails that fits, or does not that does not");
	if (granted) {
		take_run(one, where, text);
	} else {
		totals->failed++;
		totals->in_pieces += look().free >= one->pages;
	}
	compare(text, totals);
}

/* Every page once, among the lines of holes and runs. */
static void check_lists(void)
{
	static uint8_t seen[PAGES_MAX];
	static const char *const names[] = { "hole ", "run " };
	const char *text = read_text(RUNS);
	unsigned all = 0;

	memset(seen, 0, sizeof(seen));
	for (unsigned i = 0; i < 2; i++) {
		for (const char *at = line_of(text, names[i]); at; at = line_of(at, names[i])) {
			unsigned first, count;

			parse_number(&at);
			first = (unsigned)parse_number(&at);
			count = (unsigned)parse_number(&at);
			for (unsigned page = first; page < first + count && page < pages; page++)
				all += !seen[page]++;
			expect(count > 0 && first + count <= pages, "a run is not of the region");
		}
	}
	expect(all == pages, "a page is in no run and no hole");
	for (unsigned page = 0; page < pages; page++)
		expect(seen[page] <= 1, "a page is in two runs");
}

static void check_all_free(void)
{
	const char *text = read_text(PROC);

	expect(number_in(text, "holes") == 1 && number_in(text, "free") == pages &&
		       number_in(text, "largest_hole") == pages &&
		       !line_of(read_text(RUNS), "run "),
	       "not all memory returns");
}

static void play(const char *fit)
{
	struct totals totals = { 0 };
	char words[16] = "fit ";
	const char *text = read_text(PROC);
	long failed = number_in(text, "failed "), in_pieces = number_in(text, "failed_in_pieces");

	memcpy(words + 4, fit, strlen(fit) + 1);
	expect(write_text(PROC, words) && line_of(read_text(PROC), words), "the fit is not taken");
	for (unsigned step = 0; step < requests; step++) {
		for (unsigned i = 0; i < step; i++) {
			if (request[i].end == step)
				end_request(&request[i]);
		}
		begin_request(&request[step], fit, &totals);
		if (step == requests / 2)
			check_lists();
	}
	text = read_text(PROC);
	expect(number_in(text, "failed ") - failed == totals.failed &&
		       number_in(text, "failed_in_pieces") - in_pieces == totals.in_pieces,
	       "the kernel counts failed requests otherwise");
	for (unsigned i = 0; i < requests; i++)
		end_request(&request[i]);
	check_all_free();
	print("  %5s  %8u  %6u  %21u  %5lu  %12lu  %6lu.%lu %%\n", fit, requests, totals.failed,
	      totals.in_pieces, totals.holes / totals.samples, totals.largest / totals.samples,
	      totals.fragmentation / totals.samples / 10,
	      totals.fragmentation / totals.samples % 10);
}

/* Three of four are small, the fourth up to a twelfth of the region. */
static void make_requests(uint64_t seed)
{
	for (unsigned i = 0; i < requests; i++) {
		uint64_t number = mix(seed + 3 * i);
		unsigned most = number % 4 ? pages / 64 : pages / 12;

		request[i] = (struct request){
			.pages = (unsigned)(1 + mix(seed + 3 * i + 1) % (most ? most : 1)),
			.end = (unsigned)(i + 1 + mix(seed + 3 * i + 2) % LIFE),
		};
	}
}

static void refused(void)
{
	static const char *const wrong[] = { "fit nowhere", "fit",  "alloc 0", "alloc",
					     "alloc x",	    "free", "free 0",  "free 99999999",
					     "hello",	    "" };
	unsigned number;

	for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		expect(!*wrong[i] || !write_text(PROC, wrong[i]), "a wrong command is taken");
	expect(!command("alloc ", pages + 1), "more than the region is given");
	expect(command("alloc ", pages), "the whole region is not given");
	expect(!command("alloc ", 1), "a page is given of a region that has none");
	number = (unsigned)file_number(PROC, "last");
	expect(command("free ", number), "all cannot be given back");
	expect(!command("free ", number), "a run can be given back twice");
	check_all_free();
}

int main(int argc, char **argv)
{
	uint64_t seed = now() / 1000 % 1000000, count = REQUESTS;

	if ((argc > 1 && !parse_size(argv[1], &seed)) ||
	    (argc > 2 && (!parse_size(argv[2], &count) || count > REQUESTS_MAX))) {
		print_error("usage: contiguous [SEED [REQUESTS]]\n");
		return 2;
	}
	requests = (unsigned)count;
	pages = (unsigned)file_number(PROC, "pages");
	if (pages == 0 || pages > PAGES_MAX) {
		print("contiguous: no region; contiguous=SIZE on the kernel's command line\n");
		return 1;
	}
	print("contiguous: %u pages, seed %lu\n", pages, seed);
	refused();
	make_requests(seed);
	print("    fit  requests  failed  of them free enough  holes  largest hole  ext. frag.\n");
	play("first");
	play("best");
	play("worst");
	print("%s\n", failures ? "contiguous runs are WRONG" : "contiguous runs are right");
	return failures ? 1 : 0;
}
