/*
 * The built-in workload: fills memory, reads and writes it in one or more orders, and checks the
 * whole of every page it reads.
 *
 * The content that a page must hold follows from the seed, its number and how often it was written,
 * so a page that comes back from a swap file in another's place, or as it was before its last
 * write, is noticed.
 */
#include "guest/programs/runtime/runtime.h"
#include "guest/programs/runtime/zipf.h"

#define WORDS	    (PAGE / sizeof(uint64_t))
#define ZIPF_SKEW   0.99
#define PASS_MAX    1000000
#define ERROR_LINES 8

enum fill {
	FILL_ZERO_TOUCH, /* one word, the rest stays zero */
	FILL_QUARTER,	 /* a quarter random, the rest one repeated word: compresses 4 : 1 */
	FILL_HALF,	 /* half random: 2 : 1 */
	FILL_RANDOM,	 /* does not compress */
};

enum pattern {
	PATTERN_SEQUENTIAL,
	PATTERN_RANDOM,
	PATTERN_ZIPF,
	PATTERN_COUNT,
};

static const char *const fill_names[] = { "zero-touch", "quarter", "half", "random" };
static const char *const pattern_names[] = { "sequential", "random", "zipf" };

static struct {
	uint64_t touch, count, passes, seed, write_share;
	enum fill fill;
	bool pattern[PATTERN_COUNT];
	bool bench, machine;
} options = { .touch = 64 << 20, .passes = 1, .seed = 1, .fill = FILL_HALF };

static uint64_t *memory;
static uint8_t *version; /* how often each page was written, modulo 256 */
static uint64_t page_count, stride;
static uint64_t errors;
static struct zipf zipf;

static uint64_t page_key(uint64_t page)
{
	return mix(mix(options.seed) ^ page << 8 ^ version[page]);
}

/* Random words from a key: a multiplicative step is enough to be incompressible, and quick. */
static inline uint64_t next_word(uint64_t word)
{
	word ^= word << 13;
	word ^= word >> 7;
	return word ^ word << 17;
}

static unsigned random_words(void)
{
	static const unsigned random_words[] = {
		[FILL_ZERO_TOUCH] = 1,
		[FILL_QUARTER] = WORDS / 4,
		[FILL_HALF] = WORDS / 2,
		[FILL_RANDOM] = WORDS,
	};

	return random_words[options.fill];
}

static void page_fill(uint64_t page)
{
	uint64_t *word = memory + page * WORDS, key = page_key(page) | 1, value = key;
	unsigned random = random_words(), i;

	for (i = 0; i < random; i++) {
		word[i] = value;
		value = next_word(value);
	}
	for (; options.fill != FILL_ZERO_TOUCH && i < WORDS; i++)
		word[i] = key;
}

static void page_wrong(uint64_t page, unsigned at, uint64_t want)
{
	if (errors++ < ERROR_LINES)
		print_error("demo: page %lu, word %u: is %lx, should be %lx\n", page, at,
			    memory[page * WORDS + at], want);
}

static void page_check(uint64_t page)
{
	const uint64_t *word = memory + page * WORDS;
	uint64_t key = page_key(page) | 1, value = key,
		 rest = options.fill != FILL_ZERO_TOUCH ? key : 0;
	unsigned random = random_words(), i;
	uint64_t differ = 0;

	for (i = 0; i < random; i++) {
		differ |= word[i] ^ value;
		value = next_word(value);
	}
	for (; i < WORDS; i++)
		differ |= word[i] ^ rest;
	if (!differ)
		return;
	for (i = 0, value = key; i < WORDS; i++, value = next_word(value)) {
		uint64_t want = i < random ? value : rest;

		if (word[i] != want) {
			page_wrong(page, i, want);
			return;
		}
	}
}

/* One word a page: the cost of reaching it, not of reading it. */
static void page_bench(uint64_t page, bool write)
{
	uint64_t *word = memory + page * WORDS;

	if (write)
		*(volatile uint64_t *)(word + 1) = page;
	else if (*(volatile uint64_t *)word != (page_key(page) | 1))
		page_wrong(page, 0, page_key(page) | 1);
}

static void page_visit(uint64_t page, bool write)
{
	if (options.bench) {
		page_bench(page, write);
		return;
	}
	page_check(page);
	if (write) {
		version[page]++;
		page_fill(page);
	}
}

static uint64_t next_page(enum pattern pattern, uint64_t number, uint64_t *random)
{
	switch (pattern) {
	case PATTERN_SEQUENTIAL:
		return number % page_count;
	case PATTERN_RANDOM:
		return (uint64_t)((unsigned __int128)mix((*random)++) * page_count >> 64);
	default:
		/* Ranks are spread over the memory, so that hot pages are no neighbours. */
		return zipf_next(&zipf, random) * stride % page_count;
	}
}

static void report(const char *name, uint64_t touched, uint64_t written, uint64_t ns)
{
	if (options.machine)
		print("phase=%s pages=%lu touched=%lu written=%lu ns=%lu ns_per_page=%lu "
		      "errors=%lu\n",
		      name, page_count, touched, written, ns, touched ? ns / touched : 0, errors);
	else
		print("  %-12s %12lu %12lu %12lu %12lu\n", name, touched, written,
		      touched ? ns / touched : 0, ns / 1000000);
}

static void run_fill(void)
{
	uint64_t start = now();

	for (uint64_t page = 0; page < page_count; page++)
		page_fill(page);
	report("fill", page_count, page_count, now() - start);
}

static void run_pattern(enum pattern pattern)
{
	uint64_t count = options.count ? options.count : page_count;
	uint64_t random = mix(options.seed ^ (pattern + 1)), written = 0, start = now();

	for (uint64_t i = 0; i < count; i++) {
		uint64_t page = next_page(pattern, i, &random);
		bool write =
			options.write_share && mix(random ^ i << 20) % 100 < options.write_share;

		page_visit(page, write);
		written += write;
	}
	report(pattern_names[pattern], count, written, now() - start);
}

static uint64_t common_divisor(uint64_t a, uint64_t b)
{
	while (b) {
		uint64_t rest = a % b;

		a = b;
		b = rest;
	}
	return a;
}

static bool prepare(void)
{
	page_count = options.touch / PAGE;
	if (page_count == 0) {
		print_error("demo: --touch needs a page at least\n");
		return false;
	}
	memory = map_memory(page_count * PAGE, PROT_READ | PROT_WRITE);
	version = map_memory(page_count, PROT_READ | PROT_WRITE);
	if (!memory || !version) {
		print_error("demo: no address space for %lu bytes\n", options.touch);
		return false;
	}
	zipf_init(&zipf, page_count, ZIPF_SKEW);
	stride = page_count * 5 / 8 | 1;
	while (common_divisor(stride, page_count) != 1)
		stride += 2;
	return true;
}

static int find_name(const char *name, const char *const *names, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		if (equal(name, names[i]))
			return i;
	}
	return -1;
}

static bool parse_option(const char *name, const char *value)
{
	int found;

	if (equal(name, "--touch"))
		return parse_size(value, &options.touch);
	if (equal(name, "--count"))
		return parse_size(value, &options.count);
	if (equal(name, "--passes"))
		return parse_size(value, &options.passes) && options.passes <= PASS_MAX;
	if (equal(name, "--seed"))
		return parse_size(value, &options.seed);
	if (equal(name, "--write-share"))
		return parse_size(value, &options.write_share) && options.write_share <= 100;
	if (equal(name, "--fill")) {
		found = find_name(value, fill_names, 4);
		options.fill = found;
		return found >= 0;
	}
	if (equal(name, "--pattern")) {
		found = find_name(value, pattern_names, PATTERN_COUNT);
		if (found >= 0)
			options.pattern[found] = true;
		return found >= 0;
	}
	return false;
}

static bool parse_options(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		if (equal(argv[i], "--bench")) {
			options.bench = true;
		} else if (equal(argv[i], "--machine")) {
			options.machine = true;
		} else if (i + 1 < argc && parse_option(argv[i], argv[i + 1])) {
			i++;
		} else {
			print_error("demo: bad option or value: %s\n", argv[i]);
			print_error(
				"usage: demo [--touch SIZE] [--passes N]\n"
				"            [--fill zero-touch|quarter|half|random]\n"
				"            [--pattern sequential|random|zipf]...\n"
				"            [--count TOUCHES] [--write-share PERCENT] [--seed N]\n"
				"            [--bench] [--machine]\n");
			return false;
		}
	}
	if (!options.pattern[0] && !options.pattern[1] && !options.pattern[2])
		options.pattern[0] = options.pattern[1] = options.pattern[2] = true;
	return true;
}

int main(int argc, char **argv)
{
	if (!parse_options(argc, argv) || !prepare())
		return 2;
	if (!options.machine)
		print("%lu pages (%lu MiB), filled %s, seed %lu\n"
		      "  %-12s %12s %12s %12s %12s\n",
		      page_count, page_count >> 8, fill_names[options.fill], options.seed, "phase",
		      "touched", "written", "ns a page", "ms");
	run_fill();
	for (uint64_t pass = 0; pass < options.passes; pass++) {
		for (unsigned pattern = 0; pattern < PATTERN_COUNT; pattern++) {
			if (options.pattern[pattern])
				run_pattern(pattern);
		}
	}
	if (errors) {
		print_error("demo: %lu pages were WRONG\n", errors);
		return 1;
	}
	if (!options.machine)
		print("%s\n", options.bench ? "first words right" : "every page read was right");
	return 0;
}
