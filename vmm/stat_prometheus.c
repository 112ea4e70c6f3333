/*
 * Prometheus's text format: a table of what there is, and one writer for it. What the guest's
 * answer lacks is left out, with its HELP and TYPE.
 *
 * Times are counted in ns and told in seconds, with all their digits. The bounds of the histograms
 * are the same in every answer: a bucket of mm/hist.h never lies across a power of two.
 */
#include "vmm/json.h"
#include "vmm/stat.h"

#define BOUND_FIRST 10 /* 2^10 - 1 ns: 1 us */
#define BOUND_LAST  34 /* 17 s */

enum unit {
	PLAIN,
	SECONDS, /* of ns */
};

/* Where its value is in the answer, and the label that tells it from the metric's others. */
struct series {
	const char *path, *label;
};

struct metric {
	const char *name, *type, *help;
	enum unit unit;
	const char *label;	  /* NULL: there is one series, without */
	struct series series[10]; /* ends with a NULL path */
};

static const struct metric metrics[] = {
	{ "bifold_up_seconds",
	  "gauge",
	  "How long the guest has been there.",
	  SECONDS,
	  NULL,
	  { { "wall_ns", NULL } } },
	{ "bifold_cpus",
	  "gauge",
	  "The guest's processors.",
	  PLAIN,
	  NULL,
	  { { "guest.cpus", NULL } } },
	{ "bifold_memory_bytes",
	  "gauge",
	  "The guest's memory.",
	  PLAIN,
	  NULL,
	  { { "guest.memory_bytes", NULL } } },
	{ "bifold_budget_bytes",
	  "gauge",
	  "What the guest may hold of the host; 0: no limit.",
	  PLAIN,
	  NULL,
	  { { "budget_bytes", NULL } } },
	{ "bifold_held_bytes",
	  "gauge",
	  "What the guest holds of the host, by what for.",
	  PLAIN,
	  "what",
	  { { "resident_bytes", "resident" },
	    { "pool_bytes", "pool" },
	    { "table_bytes", "tables" } } },
	{ "bifold_held_peak_bytes",
	  "gauge",
	  "The most the guest has held of the host.",
	  PLAIN,
	  NULL,
	  { { "peak_host_bytes", NULL } } },
	{ "bifold_pool_stored_bytes",
	  "gauge",
	  "Compressed data in the pool.",
	  PLAIN,
	  NULL,
	  { { "pool_stored_bytes", NULL } } },
	{ "bifold_swap_bytes",
	  "gauge",
	  "In use of the swap file.",
	  PLAIN,
	  NULL,
	  { { "swap_bytes", NULL } } },
	{ "bifold_monitor_bytes",
	  "gauge",
	  "The monitor's own memory.",
	  PLAIN,
	  NULL,
	  { { "monitor_bytes", NULL } } },
	{ "bifold_pages",
	  "gauge",
	  "The guest's pages of 4 KiB, by where their content is.",
	  PLAIN,
	  "state",
	  { { "frames.mapped", "mapped" },
	    { "frames.watched", "watched" },
	    { "frames.compressed", "compressed" },
	    { "frames.same_filled", "same_filled" },
	    { "frames.swapped", "swapped" },
	    { "frames.untouched", "untouched" } } },
	{ "bifold_faults_total",
	  "counter",
	  "Page faults served, by where the page was.",
	  PLAIN,
	  "kind",
	  { { "faults.zero_fill", "zero_fill" },
	    { "faults.minor", "minor" },
	    { "faults.pool", "pool" },
	    { "faults.swap", "swap" } } },
	{ "bifold_refaults_total",
	  "counter",
	  "Pages that came back from the pool or the swap.",
	  PLAIN,
	  NULL,
	  { { "refaults", NULL } } },
	{ "bifold_stall_seconds_total",
	  "counter",
	  "Time spent on serving faults.",
	  SECONDS,
	  NULL,
	  { { "stall_ns", NULL } } },
	{ "bifold_filled_ahead_total",
	  "counter",
	  "Pages brought in before they were touched.",
	  PLAIN,
	  NULL,
	  { { "filled_ahead", NULL } } },
	{ "bifold_evictions_total",
	  "counter",
	  "Pages that left, by where they went.",
	  PLAIN,
	  "to",
	  { { "evictions.same_filled", "same_filled" },
	    { "evictions.compressed", "compressed" },
	    { "evictions.swapped", "swapped" },
	    { "evictions.clean", "clean" } } },
	{ "bifold_evictions_cancelled_total",
	  "counter",
	  "Evictions that a touch called off.",
	  PLAIN,
	  NULL,
	  { { "evictions.cancelled", NULL } } },
	{ "bifold_written_back_total",
	  "counter",
	  "Pages moved from the pool to the swap file.",
	  PLAIN,
	  NULL,
	  { { "written_back", NULL } } },
	{ "bifold_direct_reclaims_total",
	  "counter",
	  "Faults that had to evict by themselves.",
	  PLAIN,
	  NULL,
	  { { "direct_reclaims", NULL } } },
	{ "bifold_store_failures_total",
	  "counter",
	  "Pages kept because storing them failed.",
	  PLAIN,
	  NULL,
	  { { "store_failures", NULL } } },
	{ "bifold_kvm_exits_total",
	  "counter",
	  "Exits of the vCPUs.",
	  PLAIN,
	  NULL,
	  { { "kvm.exits", NULL } } },
	{ "bifold_kvm_io_exits_total",
	  "counter",
	  "Exits for I/O.",
	  PLAIN,
	  NULL,
	  { { "kvm.io_exits", NULL } } },
	{ "bifold_kvm_emulated_instructions_total",
	  "counter",
	  "Instructions KVM emulated.",
	  PLAIN,
	  NULL,
	  { { "kvm.insn_emulation", NULL } } },
	{ "bifold_kvm_faults_total",
	  "counter",
	  "Faults of the second layer.",
	  PLAIN,
	  NULL,
	  { { "kvm.pf_taken", NULL } } },
	{ "bifold_kvm_mappings",
	  "gauge",
	  "Mappings of the second layer, by size.",
	  PLAIN,
	  "size",
	  { { "kvm.pages_4k", "4k" }, { "kvm.pages_2m", "2m" }, { "kvm.pages_1g", "1g" } } },
	{ "bifold_balloon_target_bytes",
	  "gauge",
	  "What the balloon is to hold.",
	  PLAIN,
	  NULL,
	  { { "balloon.target_bytes", NULL } } },
	{ "bifold_balloon_bytes",
	  "gauge",
	  "What the balloon holds, by the guest's word.",
	  PLAIN,
	  NULL,
	  { { "balloon.actual_bytes", NULL } } },
	{ "bifold_balloon_pages_total",
	  "counter",
	  "Pages through the balloon.",
	  PLAIN,
	  "way",
	  { { "balloon.inflated_pages", "inflated" },
	    { "balloon.deflated_pages", "deflated" },
	    { "balloon.reported_pages", "reported" } } },
	{ "bifold_guest_available_bytes",
	  "gauge",
	  "What the guest says it could spare.",
	  PLAIN,
	  NULL,
	  { { "balloon.statistics.available_bytes", NULL } } },
	{ "bifold_guest_free_bytes",
	  "gauge",
	  "What the guest says it uses for nothing.",
	  PLAIN,
	  NULL,
	  { { "balloon.statistics.free_bytes", NULL } } },
};

/* A label's value, quoted. */
static void put_value(const char *value, FILE *file)
{
	fputc('"', file);
	for (; *value != '\0'; value++) {
		if (*value == '\n') {
			fputs("\\n", file);
			continue;
		}
		if (*value == '"' || *value == '\\')
			fputc('\\', file);
		fputc(*value, file);
	}
	fputc('"', file);
}

static void put_label(const char *name, const char *value, FILE *file)
{
	fprintf(file, ",%s=", name);
	put_value(value, file);
}

/* The name and the first label of a sample; the closing brace is the caller's. */
static void begin_sample(const char *name, const char *socket, FILE *file)
{
	fprintf(file, "%s{socket=", name);
	put_value(socket, file);
}

static void put_number(enum unit unit, uint64_t value, FILE *file)
{
	if (unit == SECONDS)
		fprintf(file, "%llu.%09llu", (unsigned long long)value / 1000000000,
			(unsigned long long)value % 1000000000);
	else
		fprintf(file, "%llu", (unsigned long long)value);
}

static void put_head(const char *name, const char *type, const char *help, FILE *file)
{
	fprintf(file, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void put_metric(const struct metric *m, const json_t *stat, const char *socket, FILE *file)
{
	bool begun = false;

	for (const struct series *s = m->series; s->path != NULL; s++) {
		if (!json_is_integer(json_at(stat, s->path)))
			continue;
		if (!begun)
			put_head(m->name, m->type, m->help, file);
		begun = true;
		begin_sample(m->name, socket, file);
		if (m->label != NULL)
			put_label(m->label, s->label, file);
		fputs("} ", file);
		put_number(m->unit, json_count(stat, s->path), file);
		fputc('\n', file);
	}
}

/* How many of a histogram's values are at most this. */
static uint64_t count_to(const json_t *buckets, uint64_t most)
{
	uint64_t count = 0;
	size_t i;
	json_t *bucket;

	json_array_foreach((json_t *)(uintptr_t)buckets, i,
			   bucket) if ((uint64_t)json_integer_value(json_array_get(bucket, 0)) <=
				       most) count +=
		(uint64_t)json_integer_value(json_array_get(bucket, 1));
	return count;
}

static void put_histogram(const char *name, const char *kind, const json_t *latency,
			  const char *socket, FILE *file)
{
	char full[64];

	snprintf(full, sizeof(full), "%s_bucket", name);
	for (int bound = BOUND_FIRST; bound <= BOUND_LAST + 1; bound++) {
		uint64_t most = bound <= BOUND_LAST ? (1ull << bound) - 1 : UINT64_MAX;

		begin_sample(full, socket, file);
		put_label("kind", kind, file);
		fputs(",le=\"", file);
		if (most != UINT64_MAX)
			put_number(SECONDS, most, file);
		fprintf(file, "%s\"} %llu\n", most == UINT64_MAX ? "+Inf" : "",
			(unsigned long long)count_to(json_object_get(latency, "buckets"), most));
	}
	snprintf(full, sizeof(full), "%s_sum", name);
	begin_sample(full, socket, file);
	put_label("kind", kind, file);
	fputs("} ", file);
	put_number(SECONDS, json_count(latency, "sum"), file);
	snprintf(full, sizeof(full), "\n%s_count", name);
	begin_sample(full, socket, file);
	put_label("kind", kind, file);
	fprintf(file, "} %llu\n", (unsigned long long)json_count(latency, "count"));
}

static void put_latencies(const json_t *latency_ns, const char *socket, FILE *file)
{
	const char *name = "bifold_fault_seconds", *kind;
	json_t *latency;

	if (json_object_size(latency_ns) == 0)
		return;
	put_head(name, "histogram", "How long faults took to serve, by where the page was.", file);
	json_object_foreach((json_t *)(uintptr_t)latency_ns, kind, latency)
		put_histogram(name, kind, latency, socket, file);
}

static void put_info(const json_t *stat, const char *socket, FILE *file)
{
	static const struct series labels[] = {
		{ "version", "version" },     { "guest.name", "guest" },
		{ "guest.kernel", "kernel" }, { "second_layer", "second_layer" },
		{ "policy", "policy" },	      { "compressor", "compressor" },
	};

	put_head("bifold_info", "gauge", "What runs there; always 1.", file);
	begin_sample("bifold_info", socket, file);
	for (size_t i = 0; i < sizeof(labels) / sizeof(labels[0]); i++) {
		const char *value = json_string_value(json_at(stat, labels[i].path));

		put_label(labels[i].label, value != NULL ? value : "?", file);
	}
	fputs("} 1\n", file);
	put_head("bifold_paused", "gauge", "1: the user holds the guest paused.", file);
	begin_sample("bifold_paused", socket, file);
	fprintf(file, "} %d\n", strcmp(json_text(stat, "state"), "paused") == 0);
}

void stat_print_prometheus(const json_t *stat, const char *socket, FILE *file)
{
	put_info(stat, socket, file);
	for (size_t i = 0; i < sizeof(metrics) / sizeof(metrics[0]); i++)
		put_metric(&metrics[i], stat, socket, file);
	put_latencies(json_object_get(stat, "latency_ns"), socket, file);
}
