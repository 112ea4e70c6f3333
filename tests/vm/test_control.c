/* Running guests looked at from outside: translate, maps, and the socket they answer on. */
#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "tests/vm/guests.h"

static void init(void)
{
	harness_init();
	need_kvm();
}

TestSuite(control, .init = init, .fini = harness_finish, .timeout = 300);

static uint64_t written, read_only, untouched, far, code;

/* A guest with cold pages of known addresses. options: words of bifold run; ends with NULL. */
static struct child *start_places(const char *busy_mib, const char *const *options)
{
	struct child *guest = start_guest(options, WORDS("places", busy_mib), "ready");

	cr_assert_eq(sscanf(strstr(guest->out_text, "written"),
			    "written %lx read_only %lx untouched %lx far %lx code %lx", &written,
			    &read_only, &untouched, &far, &code),
		     5, "%s", guest->out_text);
	return guest;
}

/* Its output; the child is forgotten. An address that leads to no page has status 1. */
static json_t *parse(struct child *child)
{
	json_t *json = json_loads(child->out_text, 0, NULL);
	const char *end = json_string_value(json_object_get(json, "end"));
	int status = end == NULL || strcmp(end, "page") == 0 ? 0 : 1;

	cr_assert_eq(child->status, status, "status %d: %s", child->status, child->err_text);
	cr_assert(json_is_object(json), "%s", child->out_text);
	child_forget(child);
	return json;
}

static json_t *translate(uint64_t address)
{
	char text[32];

	snprintf(text, sizeof(text), "0x%lx", address);
	return parse(run_words(NULL, NULL, bifold_path(), "translate", "--json", socket_path(),
			       text, NULL));
}

static const char *text_of(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	return text != NULL ? text : "";
}

static bool may(const json_t *t, const char *access)
{
	const json_t *rights = json_object_get(json_object_get(t, "access"), "user");

	return json_is_true(json_object_get(json_object_get(rights, access), "allowed"));
}

Test(control, translates)
{
	struct child *guest = start_places("1", NO_WORDS);
	json_t *t = translate(written + 0x123);

	cr_assert_str_eq(text_of(t, "end"), "page");
	cr_assert_eq(strtoull(text_of(t, "guest_physical"), NULL, 16) % 4096, 0x123);
	cr_assert_str_eq(text_of(json_object_get(t, "second"), "state"), "mapped");
	cr_assert(may(t, "read") && may(t, "write") && !may(t, "execute"));
	t = translate(read_only);
	cr_assert(may(t, "read") && !may(t, "write") && !may(t, "execute"));
	t = translate(code);
	cr_assert(may(t, "read") && !may(t, "write") && may(t, "execute"));
	cr_assert_str_eq(text_of(translate(untouched), "end"), "not_present");
	cr_assert_str_eq(text_of(translate(0), "end"), "not_present");
	cr_assert_str_eq(text_of(translate(0x8000000000000000ul), "end"), "non_canonical");
	end_guest(guest);
}

/* Cold pages and their page tables lie in the swap; looking at them leaves them there. */
static void looks_only(const char *compressor, const char *state)
{
	struct child *guest = start_places(
		"24", WORDS("--memory", "64M", "--budget", "8M", "--compressor", compressor));
	struct timespec pause = { .tv_nsec = 200000000 };
	unsigned stored = 0, moved = 0;

	/* The guest is busy pushing them out. */
	for (int tries = 0; tries < 50 && stored < 8; tries++) {
		stored = 0;
		nanosleep(&pause, NULL);
		for (uint64_t i = 0; i < 64; i += 4) {
			json_t *first = translate(far + i * (2ul << 20)), *second;
			json_t *step = json_array_get(json_object_get(first, "steps"), 3);
			const char *table = text_of(json_object_get(step, "in"), "state");

			cr_assert_str_eq(text_of(first, "end"), "page");
			if (strcmp(table, state) != 0)
				continue;
			second = translate(far + i * (2ul << 20));
			/* Of the tables above, the guest's own life moves some; of these, hardly
			 * one between two looks. */
			if (json_equal(step, json_array_get(json_object_get(second, "steps"), 3)))
				stored++;
			else
				moved++;
		}
	}
	cr_assert_geq(stored, 8, "page tables that are %s", state);
	cr_assert_lt(moved, 4, "looking moves page tables");
	end_guest(guest);
}

Test(control, swapped_tables_stay_swapped)
{
	looks_only("none", "swapped");
}

Test(control, compressed_tables_stay_compressed)
{
	looks_only("lz4", "compressed");
}

/* An address as the guest's kernel sees it: its pagemap's entry, and maps's letters. */
struct told {
	uint64_t address, entry;
	char rights[5];
};

/* Brief translations of several, as an array, by the page tables at `cr3`. */
static json_t *ask(FILE *socket, const char *cr3, const struct told *told, size_t count)
{
	json_t *answer, *result;

	fprintf(socket,
		"{\"method\": \"translate\", \"params\": {\"brief\": true, \"cr3\": \"%s\", "
		"\"addresses\": [",
		cr3);
	for (size_t i = 0; i < count; i++)
		fprintf(socket, "%s\"0x%lx\"", i > 0 ? ", " : "", told[i].address);
	fprintf(socket, "]}}\n");
	fflush(socket);
	answer = json_loadf(socket, JSON_DISABLE_EOF_CHECK, NULL);
	cr_assert_eq(fgetc(socket), '\n');
	result = json_incref(json_object_get(answer, "result"));
	cr_assert_eq(json_array_size(result), count, "%s", json_dumps(answer, JSON_COMPACT));
	json_decref(answer);
	return result;
}

/* NULL, or what differs. Pages that wait for a write to be copied may be read-only. */
static const char *differs(const struct told *told, const json_t *t)
{
	bool page = told->entry >> 63 && told->rights[0] == 'r';
	int64_t upper = (int64_t)told->address >> 47;
	const char *end = text_of(t, "end"), *rights = text_of(t, "may");

	if (upper != 0 && upper != -1)
		return strcmp(end, "non_canonical") ? "the end" : NULL;
	if (upper != 0)
		return rights[0] == 'r' ? "who may read" : NULL;
	if (strcmp(end, page ? "page" : "not_present") != 0)
		return "the end";
	if (!page)
		return NULL;
	if (strtoull(text_of(t, "guest_physical"), NULL, 16) !=
	    (told->entry & ((1ul << 55) - 1)) * 4096 + told->address % 4096)
		return "the page";
	return rights[0] == 'r' && rights[2] == told->rights[2] &&
			       (rights[1] == '-' || rights[1] == told->rights[1])
		       ? NULL
		       : "the rights";
}

struct tally {
	unsigned compared, pages, huge, away;
};

static void compare(const struct told *told, const json_t *t, const char *seed, struct tally *tally)
{
	const char *what = differs(told, t);

	cr_assert_null(what, "%s differs for %lx %lx %s, seed %s: %s", what, told->address,
		       told->entry, told->rights, seed, json_dumps(t, JSON_COMPACT));
	tally->compared++;
	if (strcmp(text_of(t, "end"), "page") != 0)
		return;
	tally->pages++;
	tally->huge += json_integer_value(json_object_get(t, "page_size")) == 2 << 20;
	tally->away += strcmp(text_of(t, "state"), "mapped") != 0;
}

/* The next addresses that the guest told of, up to `most`. */
static size_t read_told(const char **at, struct told *told, size_t most)
{
	size_t count = 0;
	int length;

	while (count < most && sscanf(*at, "%lx %lx %4s\n%n", &told[count].address,
				      &told[count].entry, told[count].rights, &length) == 3) {
		*at += length;
		count++;
	}
	return count;
}

/* A walk inside the guest against one from outside; pages and tables are in the pool or the swap
 * meanwhile. */
Test(control, agrees_with_the_guest)
{
	const char *seed = harness_seed("agrees");
	struct child *guest = start_guest(WORDS("--memory", "64M", "--budget", "6M"),
					  WORDS("pagemap", "10000", seed), "begin");
	struct tally tally = { 0 };
	static struct told told[256];
	FILE *socket;
	const char *at;
	json_t *busy;
	size_t count;

	/* Once it is back from that system call, for which it may have waited. */
	do
		busy = translate(0x401000);
	while (strcmp(text_of(busy, "end"), "page") != 0);
	child_wait_for(guest, false, "ready");
	socket = fdopen(connect_socket(), "r+");
	cr_assert(socket != NULL);
	at = strstr(guest->out_text, "begin\n") + strlen("begin\n");
	while ((count = read_told(&at, told, 256)) > 0) {
		json_t *all = ask(socket, text_of(busy, "cr3"), told, count);

		for (size_t i = 0; i < count; i++)
			compare(&told[i], json_array_get(all, i), seed, &tally);
		json_decref(all);
	}
	fclose(socket);
	cr_assert_eq(tally.compared, 10000);
	cr_assert(tally.pages > 2000 && tally.huge > 10 && tally.away > 10,
		  "%u pages, %u of them huge, %u not in memory", tally.pages, tally.huge,
		  tally.away);
	child_finish(guest, "\n", 1);
	cr_assert_eq(guest->status, 0, "status %d: %s", guest->status, guest->err_text);
	cr_assert(strstr(guest->out_text, "same") != NULL, "%s", strstr(guest->out_text, "moved"));
}

Test(control, maps)
{
	struct child *guest = start_places("1", NO_WORDS);
	json_t *maps = parse(run_words(NULL, NULL, bifold_path(), "maps", "--json", "--plot",
				       scratch_path("maps.svg"), socket_path(), NULL));
	json_t *range;
	size_t i, size, found = 0;
	char *plot;

	json_array_foreach(json_object_get(maps, "ranges"), i, range)
	{
		uint64_t start = strtoull(text_of(range, "start"), NULL, 16);
		uint64_t last = strtoull(text_of(range, "last"), NULL, 16);

		if (start <= written && written <= last)
			found += json_is_true(json_object_get(range, "write"));
		if (start <= read_only && read_only <= last)
			found += json_is_false(json_object_get(range, "write"));
		if (start <= code && code <= last)
			found += json_is_true(json_object_get(range, "execute"));
		cr_assert(!(start <= untouched && untouched <= last));
	}
	cr_assert_eq(found, 3);
	plot = read_file(scratch_path("maps.svg"), &size);
	cr_assert(plot != NULL && strstr(plot, "<svg") != NULL && strstr(plot, "</svg>") != NULL);
	end_guest(guest);
}

/* A guest that sleeps, each of its vCPUs, and one whose memory is the host kernel's. */
Test(control, sleeping_and_other_guests)
{
	struct child *guest = start_hold(WORDS("--cpus", "2"));
	struct child *asked;

	for (int i = 0; i < 20; i++) {
		asked = run_words(NULL, NULL, bifold_path(), "translate", "--vcpu",
				  i % 2 ? "1" : "0", socket_path(), "0xffffffff80200000", NULL);
		cr_assert_eq(asked->status, 0, "%s", asked->err_text);
		child_forget(asked);
	}
	asked = run_words(NULL, NULL, bifold_path(), "translate", "--json", socket_path(),
			  "0xffffffff80200000", "0", NULL);
	cr_assert_eq(json_array_size(json_loads(asked->out_text, 0, NULL)), 2, "%s",
		     asked->out_text);
	asked = run_words(NULL, NULL, bifold_path(), "translate", "--vcpu", "2", socket_path(), "0",
			  NULL);
	cr_assert_eq(asked->status, 1);
	cr_assert(strstr(asked->err_text, "2 vCPUs") != NULL, "%s", asked->err_text);
	end_hold(guest);
	guest = start_hold(WORDS("--unmanaged"));
	asked = run_words(NULL, NULL, bifold_path(), "translate", socket_path(),
			  "0xffffffff80200000", NULL);
	cr_assert_eq(asked->status, 0, "%s", asked->err_text);
	cr_assert(strstr(asked->out_text, "the host kernel's to manage") != NULL, "%s",
		  asked->out_text);
	end_hold(guest);
}

/* Fifty at once, all of them up to no good; the guest's data is whole, and an honest one is served.
 */
Test(control, bad_clients_disturb_nobody)
{
	struct child *guest = start_hold(WORDS("--memory", "48M", "--budget", "8M"));
	static char junk[70000];
	int fd[50];

	for (int i = 0; i < 50; i++) {
		fd[i] = connect_socket();
		memset(junk, i % 2 ? '[' : 0xff, sizeof(junk));
		if (i % 5 == 1)
			junk[sizeof(junk) - 1] = '\n';
		if (i % 5 == 4)
			strcpy(junk, "{\"method\":\"maps\"}\n{\"method\":\"maps\"}\n{\"meth");
		if (i % 5 != 3)
			send(fd[i], junk, i % 5 == 4 ? strlen(junk) : sizeof(junk),
			     MSG_DONTWAIT | MSG_NOSIGNAL);
		if (i % 5 == 2)
			shutdown(fd[i], SHUT_WR);
	}
	cr_assert_str_eq(text_of(translate(0xffffffff80200000), "end"), "page");
	for (int i = 0; i < 50; i++)
		close(fd[i]);
	cr_assert_str_eq(text_of(translate(0xffffffff80200000), "end"), "page");
	end_hold(guest);
}

Test(control, nobody_answers)
{
	struct child *asked =
		run_words(NULL, NULL, bifold_path(), "translate", socket_path(), "0", NULL);

	cr_assert_eq(asked->status, 1);
	cr_assert(strstr(asked->err_text, "No such file") != NULL, "%s", asked->err_text);
	write_file(socket_path(), "x", 1);
	asked = run_bifold("--control", socket_path(), busybox_path(), "true");
	cr_assert_eq(asked->status, 125);
	cr_assert(strstr(asked->err_text, "no socket") != NULL, "%s", asked->err_text);
	cr_assert_eq(run_words(NULL, NULL, bifold_path(), "maps", NULL)->status, 125);
	cr_assert_eq(run_words(NULL, NULL, bifold_path(), "translate", "a", NULL)->status, 125);
	cr_assert_eq(run_words(NULL, NULL, bifold_path(), "translate", "a", "0", "b", NULL)->status,
		     125);
}
