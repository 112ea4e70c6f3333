/* Tests the output of 'bifold stat' for a guest's answer: the metrics, and any answer at all. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "mm/tiers.h"
#include "tests/prometheus.h"
#include "vmm/common/json.h"
#include "vmm/common/words.h"
#include "vmm/ask/stat.h"
#include "vmm/ask/top_model.h"

static struct prometheus got;
static char *text;
static size_t text_size;

static void finish(void)
{
	free(text);
}

TestSuite(stat, .fini = finish, .timeout = 60);

static json_t *load(const char *json)
{
	json_error_t error;
	json_t *loaded = json_loads(json, 0, &error);

	cr_assert_not_null(loaded, "%s: %s", error.text, json);
	return loaded;
}

static const char answer[] =
	"{\"version\":\"0.1.0\",\"pid\":42,\"state\":\"paused\",\"stop\":null,"
	"\"guest\":{\"memory_bytes\":1048576,\"cpus\":2,\"name\":\"a\\\"b\\\\c\\nd\","
	"\"kernel\":\"quire\"},\"budget_bytes\":524288,\"budget_most_bytes\":524288,\"peak_host_"
	"bytes\":500000,"
	"\"resident_bytes\":400000,\"pool_bytes\":65536,\"pool_stored_bytes\":50000,"
	"\"pool_frames\":30,\"same_filled_frames\":3,\"swap_bytes\":8192,\"table_bytes\":1000,"
	"\"touched_frames\":200,\"stall_ns\":1000000001,\"wall_ns\":2500000000,\"refaults\":7,"
	"\"managed\":true,\"second_layer\":\"npt\",\"policy\":\"sfifo\",\"compressor\":\"lz4\","
	"\"faults\":{\"zero_fill\":5,\"minor\":4,\"pool\":3,\"swap\":4},"
	"\"evictions\":{\"same_filled\":1,\"compressed\":2,\"swapped\":3,\"clean\":4,"
	"\"cancelled\":5},"
	"\"latency_ns\":{\"zero_fill\":{\"count\":0,\"sum\":0,\"buckets\":[]},"
	"\"swap\":{\"p50\":1500,\"p99\":5000,\"max\":60000000000,\"count\":10,"
	"\"sum\":60000012345,\"buckets\":[[1023,1],[1151,2],[2047,3],[4607,3],[60129542143,1]]}},"
	"\"kvm\":{\"exits\":100,\"pages_4k\":7},"
	"\"frames\":{\"total\":256,\"mapped\":90,\"watched\":10,\"compressed\":30,"
	"\"same_filled\":3,\"swapped\":2,\"released\":21,\"untouched\":100},"
	"\"balloon\":{\"ready\":true,\"target_bytes\":40960,\"actual_bytes\":20480,"
	"\"statistics\":{\"free_bytes\":4096,\"available_bytes\":12288,\"age_ns\":2000000000}},"
	"\"disks\":[{\"number\":0,"
	"\"reads\":5,\"read_bytes\":20480,\"errors\":0},"
	"{\"number\":1,\"reads\":6,\"writes\":7,\"written_bytes\":4096,\"errors\":1}]}";

static void print_metrics(const json_t *stat, const char *socket)
{
	FILE *file;

	free(text);
	file = open_memstream(&text, &text_size);
	stat_print_prometheus(stat, socket, file);
	fclose(file);
}

static void read_metrics(const json_t *stat, const char *socket)
{
	print_metrics(stat, socket);
	prometheus_read(text, &got);
	cr_assert_str_eq(got.error, "", "%s\n%s", got.error, text);
}

#define expect(wanted, ...)                                                                        \
	do {                                                                                       \
		double value_ = -1;                                                                \
                                                                                                   \
		cr_assert(prometheus_find(&got, &value_, __VA_ARGS__, NULL), "%s: not there once", \
			  #__VA_ARGS__);                                                           \
		cr_assert_eq(value_, wanted, "%s is %.17g", #__VA_ARGS__, value_);                 \
	} while (0)

Test(stat, metrics)
{
	json_t *stat = load(answer);
	double value;

	read_metrics(stat, "/tmp/g");
	expect(1, "bifold_info", "guest=\"a\\\"b\\\\c\\nd\"", "kernel=\"quire\"",
	       "socket=\"/tmp/g\"", "second_layer=\"npt\"");
	expect(1, "bifold_paused");
	expect(2.5, "bifold_up_seconds");
	expect(524288, "bifold_budget_bytes");
	expect(400000, "bifold_resident_bytes");
	expect(100, "bifold_pages", "state=\"untouched\"");
	expect(4, "bifold_faults_total", "kind=\"minor\"");
	expect(1.000000001, "bifold_stall_seconds_total");
	expect(4, "bifold_evictions_total", "to=\"clean\"");
	expect(7, "bifold_kvm_mappings", "size=\"4K\"");
	expect(20480, "bifold_balloon_bytes");
	expect(12288, "bifold_guest_available_bytes");
	expect(5, "bifold_disk_requests_total", "disk=\"0\"", "what=\"reads\"");
	expect(7, "bifold_disk_requests_total", "disk=\"1\"", "what=\"writes\"");
	expect(1, "bifold_disk_errors_total", "disk=\"1\"");
	/* Figures that the answer lacks are left out: no such counters of KVM's, nothing of 2
	 * MiB. */
	cr_assert(!prometheus_find(&got, &value, "bifold_kvm_io_exits_total", NULL));
	cr_assert_null(strstr(text, "bifold_kvm_io_exits_total"));
	json_decref(stat);
}

Test(stat, histogram)
{
	json_t *stat = load(answer);

	read_metrics(stat, "/tmp/g");
	expect(1, "bifold_fault_seconds_bucket", "kind=\"swap\"", "le=\"0.000001023\"");
	expect(6, "bifold_fault_seconds_bucket", "kind=\"swap\"", "le=\"0.000002047\"");
	expect(6, "bifold_fault_seconds_bucket", "kind=\"swap\"", "le=\"0.000004095\"");
	expect(9, "bifold_fault_seconds_bucket", "kind=\"swap\"", "le=\"0.000008191\"");
	expect(9, "bifold_fault_seconds_bucket", "kind=\"swap\"", "le=\"17.179869183\"");
	expect(10, "bifold_fault_seconds_bucket", "kind=\"swap\"", "le=\"+Inf\"");
	expect(60.000012345, "bifold_fault_seconds_sum", "kind=\"swap\"");
	expect(10, "bifold_fault_seconds_count", "kind=\"swap\"");
	expect(0, "bifold_fault_seconds_bucket", "kind=\"zero_fill\"", "le=\"+Inf\"");
	json_decref(stat);
}

/* The reader finds what is wrong, or the test above would say nothing. */
Test(stat, reader_is_strict)
{
#define HEAD "# HELP a_total x\n# TYPE a_total counter\n"
#define HIST "# HELP h x\n# TYPE h histogram\n"
	static const char *const bad[] = {
		"a_total{b=\"c\"} 1\n",
		HEAD,
		HEAD "a_total{b=\"c\"} 1",
		HEAD "a_total{b=\"c\"} -1\n",
		HEAD "a_total{b=\"c\"} 1 \n",
		HEAD "a_total{b=\"c\"} x\n",
		HEAD "a_total{b=\"c\"}  1\n",
		HEAD "a_total{b=\"c\"} 1\na_total{b=\"c\"} 2\n",
		HEAD "a_total{b=\"c\",b=\"d\"} 1\n",
		HEAD "a_total{b=\"c\\d\"} 1\n",
		HEAD "a_total{b=\"c} 1\n",
		HEAD "a_total{1=\"c\"} 1\n",
		HEAD "a_total{b=\"c\"} 1\n" HEAD,
		HEAD "a_total{b=\"c\"} 1\n# other\n",
		HEAD "b_total{b=\"c\"} 1\n",
		"# TYPE a gauge\na{b=\"c\"} 1\n",
		"# HELP a_total x\n# TYPE a_total gauge\na_total{b=\"c\"} 1\n",
		"# HELP a x\n# TYPE a counter\na{b=\"c\"} 1\n",
		"# HELP a x\na{b=\"c\"} 1\n",
		HIST "h_bucket{le=\"1\"} 2\nh_sum{k=\"x\"} 1\nh_count{k=\"x\"} 2\n",
		HIST "h_bucket{k=\"x\",le=\"1\"} 2\nh_sum{k=\"x\"} 1\nh_count{k=\"x\"} 2\n",
		HIST "h_bucket{k=\"x\",le=\"1\"} 2\nh_bucket{k=\"x\",le=\"+Inf\"} 1\n"
		     "h_sum{k=\"x\"} 1\nh_count{k=\"x\"} 1\n",
		HIST "h_bucket{k=\"x\",le=\"+Inf\"} 2\nh_sum{k=\"x\"} 1\nh_count{k=\"x\"} 1\n",
		HIST "h_bucket{k=\"x\",le=\"+Inf\"} 2\nh_sum{k=\"x\"} 1\n",
	};

	prometheus_read(HEAD "a_total{b=\"c\"} 1\n" HIST
			     "h_bucket{k=\"x\",le=\"1\"} 2\nh_bucket{k=\"x\",le=\"+Inf\"} 2\n"
			     "h_sum{k=\"x\"} 1\nh_count{k=\"x\"} 2\n",
			&got);
	cr_assert_str_eq(got.error, "");
	cr_assert_eq(got.count, 5);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		prometheus_read(bad[i], &got);
		cr_assert_str_neq(got.error, "", "found nothing wrong with\n%s", bad[i]);
	}
}

static void print_table(const json_t *stat)
{
	FILE *file;

	free(text);
	file = open_memstream(&text, &text_size);
	stat_print(stat, file);
	fclose(file);
}

Test(stat, table)
{
	static const char *const parts[] = {
		"on quire, 2 CPUs, process 42\n",
		"paused, up 2.5 s: ",
		"  peak  ",
		"within the budget",
		"  zero-fill  ",
		"  swap  ",
		"  mapped  ",
		"30 compressed, 2.46 to 1; 3 same-filled",
		"same-filled                       3    1.2 %",
		"balloon: 20.0 KiB of 40.0 KiB",
		"could spare 12.0 KiB, it said 2.0 s ago",
		"time stalled in faults: 1.0 s",
		"disk 1: 0 B read, 4.0 KiB written, 0 flushes, 1 errors",
	};
	json_t *stat = load(answer);

	print_table(stat);
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		cr_assert_not_null(strstr(text, parts[i]), "'%s' is not in\n%s", parts[i], text);
	json_object_set_new(stat, "managed", json_false());
	print_table(stat);
	cr_assert_not_null(strstr(text, "host kernel's to manage"), "%s", text);
	json_decref(stat);
}

/* --- top's rates --- */

static json_t *moment(uint64_t wall_ns, uint64_t swap, const char *buckets)
{
	char json[512];

	snprintf(json, sizeof(json),
		 "{\"wall_ns\":%llu,\"faults\":{\"swap\":%llu},"
		 "\"latency_ns\":{\"swap\":{\"buckets\":%s}}}",
		 (unsigned long long)wall_ns, (unsigned long long)swap, buckets);
	return load(json);
}

Test(stat, rates_are_of_the_last_delay)
{
	struct top_model model = { 0 };

	cr_assert_eq(top_seconds(&model), 0);
	cr_assert_eq(top_rate(&model, "faults.swap"), 0);
	cr_assert_eq(top_permille(&model, "swap", 500), UINT64_MAX);
	top_model_put(&model, moment(1000000000, 100, "[[10,98],[20,2]]"));
	cr_assert_eq(top_rate(&model, "faults.swap"), 0);
	cr_assert_eq(top_permille(&model, "swap", 500), 10); /* since the start */
	top_model_put(&model, moment(1500000000, 110, "[[5,1],[10,98],[20,8],[40,3]]"));
	cr_assert_eq(top_seconds(&model), 0.5);
	cr_assert_eq(top_rate(&model, "faults.swap"), 20);
	cr_assert_eq(top_permille(&model, "swap", 100), 5);
	cr_assert_eq(top_permille(&model, "swap", 500), 20);
	cr_assert_eq(top_permille(&model, "swap", 700), 20);
	cr_assert_eq(top_permille(&model, "swap", 701), 40);
	cr_assert_eq(top_permille(&model, "swap", 1000), 40);
	/* Nothing since; and another guest at the same place, which has done less. */
	top_model_put(&model, moment(2500000000, 110, "[[5,1],[10,98],[20,8],[40,3]]"));
	cr_assert_eq(top_rate(&model, "faults.swap"), 0);
	cr_assert_eq(top_permille(&model, "swap", 990), UINT64_MAX);
	top_model_put(&model, moment(1, 3, "[[10,3]]"));
	cr_assert_eq(top_rate(&model, "faults.swap"), 0);
	cr_assert_eq(top_permille(&model, "swap", 990), UINT64_MAX);
	top_model_finish(&model);
}

/* Any member may be anything: another's guest, another version, an enemy. */
static json_t *spoil(json_t *value, unsigned *state)
{
	static const char *const anything[] = { "null",
						"true",
						"-1",
						"9223372036854775807",
						"1e300",
						"\"\"",
						"\"x\\ny\"",
						"[]",
						"[[1],[[]],7,[-1,-1]]",
						"{}",
						"{\"buckets\":7,\"total\":1}" };
	const char *name;
	json_t *member;
	void *next;

	if (!json_is_object(value) || rand_r(state) % 12 == 0) {
		json_decref(value);
		return json_loads(anything[rand_r(state) % 11u], JSON_DECODE_ANY, NULL);
	}
	json_object_foreach_safe(value, next, name, member) if (rand_r(state) % 4 == 0)
		json_object_set_new(value, name, spoil(json_incref(member), state));
	return value;
}

Test(stat, any_answer)
{
	const char *given = getenv("BIFOLD_SEED");
	unsigned seed = given != NULL ? (unsigned)strtoul(given, NULL, 10) : (unsigned)time(NULL);
	struct top_model model = { 0 };
	unsigned state = seed;

	fprintf(stderr, "any_answer: BIFOLD_SEED=%u\n", seed);
	for (int i = 0; i < 5000; i++) {
		json_t *stat = spoil(load(answer), &state);

		print_table(stat);
		print_metrics(stat, "/tmp/\"g\"");
		cr_assert_geq(text_size, 1);
		top_model_put(&model, stat);
		cr_assert_geq(top_rate(&model, "faults.swap"), 0);
		top_permille(&model, "swap", 990);
	}
	top_model_finish(&model);
}

/* A state that was forgotten there would be missing on every screen. */
Test(stat, each_state_that_lasts_has_its_word)
{
	int lasting = 0;

	for (int s = 0; s < FRAME_STATES; s++) {
		const char *name = frame_state_name((enum frame_state)s);
		bool has = false;

		if (s == FRAME_EVICTING || s == FRAME_RELEASING || s == FRAME_FILLING)
			continue;
		for (int i = 0; i < WORDS_OF_FRAMES; i++)
			has |= strcmp(words_of_frames[i].name, name) == 0;
		cr_expect(has, "%s", name);
		lasting++;
	}
	cr_assert_eq(lasting, WORDS_OF_FRAMES);
}
