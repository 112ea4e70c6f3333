/*
 * Prometheus's text format: a table of the metrics, and one writer for it. A metric that the
 * guest's answer lacks is left out, with its HELP and TYPE.
 *
 * Times are counted in ns and told in seconds, with all their digits. The bounds of the histograms
 * are the same in every answer: a bucket of mm/hist.h never lies across a power of two.
 */
#include "vmm/common/json.h"
#include "vmm/ask/stat.h"

#define BOUND_FIRST 10 /* 2^10 - 1 ns: 1 us */
#define BOUND_LAST  34 /* 17 s */

/* One value of the answer, "guest.cpus"; or several members of an object in it, told apart by a
 * label: their names, with a space between; or those of each object in an array. */
struct metric {
	const char *name, *type, *path;
	bool ns; /* the answer has nanoseconds */
	const char *label, *members;
	const char *help;
};

#define GAUGE(name, path, help)                                                                    \
	{                                                                                          \
		name, "gauge", path, false, NULL, NULL, help                                       \
	}
#define COUNTER(name, path, help)                                                                  \
	{                                                                                          \
		name, "counter", path, false, NULL, NULL, help                                     \
	}
#define SECONDS(name, type, path, help)                                                            \
	{                                                                                          \
		name, type, path, true, NULL, NULL, help                                           \
	}
#define FAMILY(name, type, path, label, members, help)                                             \
	{                                                                                          \
		name, type, path, false, label, members, help                                      \
	}

static const struct metric metrics[] = {
	SECONDS("bifold_up_seconds", "gauge", "wall_ns", "How long the guest has been there."),
	GAUGE("bifold_cpus", "guest.cpus", "The guest's processors."),
	GAUGE("bifold_memory_bytes", "guest.memory_bytes", "The guest's memory."),
	GAUGE("bifold_budget_bytes", "budget_bytes",
	      "What the guest may hold of the host; 0: no limit."),
	GAUGE("bifold_budget_wanted_bytes", "budget_wanted_bytes",
	      "The budget that was asked for, and is being approached."),
	GAUGE("bifold_held_bytes", "held_bytes", "What the guest holds of the host's memory."),
	GAUGE("bifold_held_peak_bytes", "peak_host_bytes", "The most it has held."),
	GAUGE("bifold_resident_bytes", "resident_bytes", "Of what is held, pages of the guest."),
	GAUGE("bifold_pool_bytes", "pool_bytes", "Of what is held, the compressed pool."),
	GAUGE("bifold_table_bytes", "table_bytes", "Of what is held, the manager's tables."),
	GAUGE("bifold_pool_stored_bytes", "pool_stored_bytes", "Compressed data in the pool."),
	GAUGE("bifold_swap_bytes", "swap_bytes", "In use of the swap file."),
	GAUGE("bifold_monitor_bytes", "monitor_bytes", "The monitor's own memory."),
	FAMILY("bifold_pages", "gauge", "frames", "state",
	       "mapped watched compressed same_filled swapped released untouched",
	       "The guest's pages of 4 KiB, by where their content is."),
	FAMILY("bifold_faults_total", "counter", "faults", "kind", "zero_fill minor pool swap",
	       "Page faults served, by where the page was."),
	COUNTER("bifold_refaults_total", "refaults",
		"Pages that were put away and came back, ahead of a walk too."),
	COUNTER("bifold_refaults_near_total", "refaults_near",
		"Of these, those that twice the memory would have kept."),
	SECONDS("bifold_pressure_seconds_total", "counter", "pressure_ns",
		"Of the stalls, what a larger budget would have saved."),
	SECONDS("bifold_stall_seconds_total", "counter", "stall_ns",
		"Time spent on serving faults."),
	COUNTER("bifold_touches_found_total", "touches_found",
		"Watched pages that a scan found touched."),
	COUNTER("bifold_filled_ahead_total", "filled_ahead",
		"Pages brought in before they were touched."),
	FAMILY("bifold_evictions_total", "counter", "evictions", "to",
	       "same_filled compressed swapped clean", "Pages that left, by where they went."),
	COUNTER("bifold_evictions_cancelled_total", "evictions.cancelled",
		"Evictions that a touch called off."),
	COUNTER("bifold_written_back_total", "written_back",
		"Pages moved from the pool to the swap file."),
	COUNTER("bifold_direct_reclaims_total", "direct_reclaims",
		"Faults that had to evict by themselves."),
	COUNTER("bifold_store_failures_total", "store_failures",
		"Pages kept because storing them failed."),
	FAMILY("bifold_releases_total", "counter", "releases", "way", "balloon reported",
	       "Pages that the guest gave up."),
	COUNTER("bifold_balloon_touches_total", "balloon_touches",
		"Touches of pages that are in the balloon."),
	COUNTER("bifold_kvm_exits_total", "kvm.exits", "Exits of the vCPUs."),
	COUNTER("bifold_kvm_io_exits_total", "kvm.io_exits", "Exits for I/O."),
	COUNTER("bifold_kvm_emulated_instructions_total", "kvm.insn_emulation",
		"Instructions that KVM emulated."),
	COUNTER("bifold_kvm_faults_total", "kvm.pf_taken", "Faults of the second layer."),
	FAMILY("bifold_kvm_mappings", "gauge", "kvm", "size", "pages_4k pages_2m pages_1g",
	       "Mappings of the second layer."),
	GAUGE("bifold_balloon_target_bytes", "balloon.target_bytes",
	      "What the balloon is to hold."),
	GAUGE("bifold_balloon_bytes", "balloon.actual_bytes",
	      "What the balloon holds, by the guest's word."),
	GAUGE("bifold_guest_available_bytes", "balloon.statistics.available_bytes",
	      "What the guest says it could spare."),
	GAUGE("bifold_guest_free_bytes", "balloon.statistics.free_bytes",
	      "What the guest says it uses for nothing."),
	FAMILY("bifold_disk_requests_total", "counter", "disks", "what",
	       "reads writes flushes discards zeroes", "Requests to disks that went well."),
	FAMILY("bifold_disk_bytes_total", "counter", "disks", "what",
	       "read_bytes written_bytes discarded_bytes zeroed_bytes", "Bytes of these."),
	FAMILY("bifold_disk_errors_total", "counter", "disks", "what", "errors",
	       "Requests to disks that failed."),
	FAMILY("bifold_disk_pending", "gauge", "disks", "what", "pending",
	       "Requests to disks in flight or waiting."),
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

static void put_seconds(uint64_t ns, FILE *file)
{
	fprintf(file, "%llu.%09llu", (unsigned long long)ns / 1000000000,
		(unsigned long long)ns % 1000000000);
}

static void put_head(const char *name, const char *type, const char *help, FILE *file)
{
	fprintf(file, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void end_sample(const struct metric *m, const json_t *value, FILE *file)
{
	fputs("} ", file);
	if (m->ns)
		put_seconds(json_count_of(value), file);
	else
		fprintf(file, "%llu", (unsigned long long)json_count_of(value));
	fputc('\n', file);
}

/* KVM has names of its own for what is 4K, 2M and 1G elsewhere. */
static const char *label_text(const char *member)
{
	static const char *const sizes[][2] = {
		{ "pages_4k", "4K" },
		{ "pages_2m", "2M" },
		{ "pages_1g", "1G" },
	};

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		if (strcmp(member, sizes[i][0]) == 0)
			return sizes[i][1];
	return member;
}

/* disk: its number, or NULL. *begun: the metric's head is there. */
static void put_family(const struct metric *m, const json_t *object, const char *disk, bool *begun,
		       const char *socket, FILE *file)
{
	char members[128], *rest = members, *member;

	snprintf(members, sizeof(members), "%s", m->members);
	while ((member = strsep(&rest, " ")) != NULL) {
		const json_t *value = json_object_get(object, member);

		if (!json_is_integer(value))
			continue;
		if (!*begun)
			put_head(m->name, m->type, m->help, file);
		*begun = true;
		begin_sample(m->name, socket, file);
		if (disk != NULL)
			put_label("disk", disk, file);
		put_label(m->label, label_text(member), file);
		end_sample(m, value, file);
	}
}

static void put_disks(const struct metric *m, const json_t *disks, const char *socket, FILE *file)
{
	bool begun = false;

	for (size_t i = 0; i < json_array_size(disks); i++) {
		char number[24];

		snprintf(number, sizeof(number), "%zu", i);
		put_family(m, json_array_get(disks, i), number, &begun, socket, file);
	}
}

static void put_metric(const struct metric *m, const json_t *stat, const char *socket, FILE *file)
{
	const json_t *value = json_at(stat, m->path);
	bool begun = false;

	if (json_is_array(value)) {
		put_disks(m, value, socket, file);
	} else if (m->members != NULL) {
		put_family(m, value, NULL, &begun, socket, file);
	} else if (json_is_integer(value)) {
		put_head(m->name, m->type, m->help, file);
		begin_sample(m->name, socket, file);
		end_sample(m, value, file);
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
			put_seconds(most, file);
		fprintf(file, "%s\"} %llu\n", most == UINT64_MAX ? "+Inf" : "",
			(unsigned long long)count_to(json_object_get(latency, "buckets"), most));
	}
	snprintf(full, sizeof(full), "%s_sum", name);
	begin_sample(full, socket, file);
	put_label("kind", kind, file);
	fputs("} ", file);
	put_seconds(json_count(latency, "sum"), file);
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

/* Whether the guest is in a state. */
static void put_state(const json_t *stat, const char *state, const char *help, const char *socket,
		      FILE *file)
{
	char name[32];

	snprintf(name, sizeof(name), "bifold_%s", state);
	put_head(name, "gauge", help, file);
	begin_sample(name, socket, file);
	fprintf(file, "} %d\n", strcmp(json_text(stat, "state"), state) == 0);
}

static void put_info(const json_t *stat, const char *socket, FILE *file)
{
	static const char *const labels[][2] = {
		{ "version", "version" },     { "guest.name", "guest" },
		{ "guest.kernel", "kernel" }, { "second_layer", "second_layer" },
		{ "policy", "policy" },	      { "compressor", "compressor" },
	};

	put_head("bifold_info", "gauge", "What runs there; always 1.", file);
	begin_sample("bifold_info", socket, file);
	for (size_t i = 0; i < sizeof(labels) / sizeof(labels[0]); i++) {
		const char *value = json_string_value(json_at(stat, labels[i][0]));

		put_label(labels[i][1], value != NULL ? value : "?", file);
	}
	fputs("} 1\n", file);
	put_state(stat, "paused", "1: the user holds the guest paused.", socket, file);
	put_state(stat, "standing",
		  "1: the guest stands until there is room on the disk of its swap file.", socket,
		  file);
}

void stat_print_prometheus(const json_t *stat, const char *socket, FILE *file)
{
	put_info(stat, socket, file);
	for (size_t i = 0; i < sizeof(metrics) / sizeof(metrics[0]); i++)
		put_metric(&metrics[i], stat, socket, file);
	put_latencies(json_object_get(stat, "latency_ns"), socket, file);
}
