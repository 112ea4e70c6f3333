/*
 * The messages for words that cannot be meant: a row each, with the part that helps. The words are
 * run in the scratch folder, where there are an empty file "file", a program "w8", a file "x,rw", a
 * folder "folder", a FIFO "fifo" that nobody reads, and no "nofile".
 */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/vm/guests.h"
#include "tests/vm/harness.h"

static void init(void)
{
	harness_init();
	write_file(scratch_path("file"), "", 0);
	write_file(scratch_path("w8"), "eight words", 11);
	write_file(scratch_path("x,rw"), "not of a sector's size", 22);
	cr_assert_eq(mkdir(scratch_path("folder"), 0755), 0);
	cr_assert_eq(mkfifo(scratch_path("fifo"), 0600), 0);
}

TestSuite(messages, .init = init, .fini = harness_finish, .timeout = 100);

struct row {
	const char *words[8];
	int status;
	const char *said, *not_said; /* on standard error; not_said may be NULL */
};

static int in_scratch(void)
{
	return chdir(scratch_path("."));
}

static void check_rows(const struct row *rows, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const struct row *row = &rows[i];
		const char *argv[sizeof(row->words) / sizeof(row->words[0]) + 2] = { 0 };
		struct child *child;

		argv[0] = bifold_path();
		memcpy(argv + 1, row->words, sizeof(row->words));
		child = child_start(argv, in_scratch);
		child_finish(child, NULL, 0);
		cr_expect_eq(child->status, row->status, "%s: %d: %s", row->said, child->status,
			     child->err_text);
		cr_expect_not_null(strstr(child->err_text, row->said), "not '%s': %s", row->said,
				   child->err_text);
		cr_expect(row->not_said == NULL || strstr(child->err_text, row->not_said) == NULL,
			  "'%s': %s", row->not_said, child->err_text);
		cr_expect_eq(child->out_size, 0, "%s", child->out_text);
		child_forget(child);
	}
}

Test(messages, command_lines)
{
	static const struct row rows[] = {
		{ { "stat", "file" }, 1, "file: it is no socket", "has ended" },
		{ { "top", "folder" }, 1, "folder: it is no socket", NULL },
		{ { "budget", "file", "64" }, 125, "'64' is less than a page", NULL },
		{ { "budget", "file", "0.5K" }, 125, "'0.5K' is less than a page", NULL },
		{ { "budget", "file", "0.001%" }, 1, "file: it is no socket", NULL },
		{ { "balloon", "file", "4095" }, 125, "'4095' is less than a page", NULL },
		{ { "balloon", "file", "1M" }, 1, "file: it is no socket", NULL },
		{ { "quit", "nofile" }, 1, "nofile: No such file", NULL },
		{ { "stat", "a", "b" }, 125, "'b' is too many", "needed" },
		{ { "maps", "a", "b" }, 125, "'b' is too many", NULL },
		{ { "run", "--kernel", "nofile" }, 125, "nofile: No such file", "cmpxchg16b" },
		{ { "run", "--kernel", "nofile", "--initrd", "w8" }, 125, "nofile: No such", NULL },
		{ { "run", "--kernel", "w8", "--initrd", "nofile" },
		  125,
		  "nofile: No such file",
		  "cmpxchg16b" },
		{ { "run", "--kernel", "w8" }, 125, "it is no Linux bzImage", "cmpxchg16b" },
		{ { "run", "--memory", "0" }, 125, "a guest needs at least 4M", "0M" },
		{ { "run", "--memory", "64" }, 125, "64 bytes", NULL },
		{ { "run", "--memory", "64" }, 125, "64M", NULL },
		{ { "run", "--memory", "2000G" }, 125, "at most 1T", "bytes" },
		{ { "run", "--disk", "w8,rw", "w8" },
		  125,
		  "--disk 'w8,rw': 'rw' is no option",
		  NULL },
		{ { "run", "--disk", "w8,ro,x", "w8" }, 125, "'x' is no option", NULL },
		{ { "run", "--disk", "w8,", "w8" }, 125, "'' is no option", NULL },
		{ { "run", "--disk", ",ro", "w8" }, 125, "expected FILE or FILE,ro", NULL },
		{ { "run", "--file", "w8:words.txt", "w8" },
		  125,
		  "--file 'w8:words.txt': GUEST begins with a slash: w8:/words.txt",
		  "No such file" },
		{ { "run", "--file", "w8:/", "w8" }, 125, "GUEST names a file, such as /w8", NULL },
		{ { "run", "--file", "w8:/a/", "w8" },
		  125,
		  "GUEST names a file, such as /a/w8",
		  NULL },
		{ { "maps", "--plot", "x.png", "file" }, 125, "SVG: name it x.svg", NULL },
		{ { "maps", "--plot", "folder/x.tar.gz", "file" },
		  125,
		  "name it folder/x.tar.svg",
		  NULL },
		{ { "maps", "--plot", "none/x.svg", "file" },
		  125,
		  "none/x.svg: No such file",
		  NULL },
		{ { "maps", "--plot", "folder", "file" }, 125, "folder: Is a directory", NULL },
		{ { "maps", "--plot", "-", "--json", "file" }, 125, "--json", NULL },
		{ { "maps", "--plot", "fifo", "file" }, 125, "fifo: nobody reads there", NULL },
		{ { "bench", "translation", "--json=fifo" }, 125, "fifo: nobody reads", NULL },
		{ { "bench", "translation", "--csv=fifo" }, 125, "fifo: nobody reads", NULL },
		{ { "bench", "translation", "--plot", "-" }, 125, "it is a folder", NULL },
		{ { "bench", "translation", "--plot", "x.png" }, 125, "name it x", NULL },
		{ { "bench", "translaton" }, 125, "did you mean 'translation'?", NULL },
		{ { "bench", "translation", "--json=none/x" }, 125, "none/x: No such file", NULL },
		{ { "bench", "translation", "--csv=none/x" }, 125, "none/x: No such file", NULL },
		{ { "bench", "translation", "--csv=folder" }, 125, "folder: Is a directory", NULL },
		{ { "bench", "translation", "--plot", "none/x" },
		  125,
		  "none/x: No such file",
		  NULL },
		{ { "bench", "translation", "--plot", "file" },
		  125,
		  "file: Not a directory",
		  NULL },
	};

	check_rows(rows, sizeof(rows) / sizeof(rows[0]));
}

/* An output is tried before the work: a command that then comes to nothing leaves none behind. */
Test(messages, no_empty_output_is_left)
{
	static const struct row rows[] = {
		{ { "maps", "--plot", "new", "file" }, 1, "file: it is no socket", NULL },
		{ { "bench", "translation", "--json=new", "--csv=none/x" },
		  125,
		  "none/x: No such file",
		  NULL },
	};

	check_rows(rows, sizeof(rows) / sizeof(rows[0]));
	cr_expect_eq(access(scratch_path("new"), F_OK), -1);
}

static int listen_there(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(address.sun_path, socket_path());
	cr_assert_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	cr_assert_eq(listen(fd, 1), 0);
	return fd;
}

/* Nor does one that is killed while it waits for the guest. */
Test(messages, no_empty_output_of_one_that_is_killed)
{
	const char *plot = scratch_path("new");
	const char *const words[] = { bifold_path(), "maps", "--plot", plot, socket_path(), NULL };
	int listener = listen_there(), fd;
	struct child *child = child_start(words, NULL);

	fd = accept(listener, NULL, NULL);
	kill(child->pid, SIGKILL);
	child_finish(child, NULL, 0);
	cr_expect_eq(child->status, 128 + SIGKILL, "%d: %s", child->status, child->err_text);
	cr_expect_eq(access(plot, F_OK), -1);
	close(fd);
	close(listener);
}

static void answer_once(int listener, const char *answer)
{
	FILE *stream = fdopen(accept(listener, NULL, NULL), "r+");
	char question[256];

	cr_assert(fgets(question, sizeof(question), stream) != NULL);
	cr_assert(fputs(answer, stream) >= 0);
	fclose(stream);
}

Test(messages, what_is_no_address_space_empties_no_plot)
{
	const char *plot = scratch_path("old"), *path = socket_path();
	const char *const words[] = { bifold_path(), "maps", "--json", "--plot", plot, path, NULL };
	int listener = listen_there();
	struct child *child;
	size_t size;
	char *text;

	write_file(plot, "old", 3);
	child = child_start(words, NULL);
	answer_once(listener, "{\"id\": 1, \"result\": {}}\n");
	child_finish(child, NULL, 0);
	cr_expect_eq(child->status, 1);
	cr_expect_not_null(strstr(child->err_text, "is no address space"), "%s", child->err_text);
	text = read_file(plot, &size);
	cr_expect_str_eq(text, "old");
	free(text);
	close(listener);
}

/* A file of the whole name is what is meant. */
Test(messages, disk_with_a_comma_in_its_name)
{
	static const struct row rows[] = {
		{ { "run", "--disk", "x,rw", "nofile" }, 127, "nofile", "no option" },
		{ { "run", "--disk", "w8,ro", "nofile" }, 127, "nofile", "no option" },
	};

	check_rows(rows, sizeof(rows) / sizeof(rows[0]));
}

/* Text for people fits 80 columns. */
static void expect_narrow(const struct child *child, const char *what)
{
	size_t length;

	cr_expect_gt(child->out_size, 0, "%s: %s", what, child->err_text);
	for (const char *line = child->out_text; *line != '\0';
	     line += length + (line[length] != '\0')) {
		length = strcspn(line, "\n");
		cr_expect_leq(length, 80, "%s: %.*s", what, (int)length, line);
	}
}

Test(messages, outputs_fit_a_terminal)
{
	static const char *const rows[][5] = {
		{ "stat" },
		{ "maps" },
		{ "translate", "0xffffffff80200000", "0" },
		{ "translate", "--brief", "0xffffffff80200000", "0" },
	};
	struct child *guest, *asked;

	need_kvm();
	expect_narrow(run_bifold("--memory", "48M", "--budget", "8M"), "run");
	expect_narrow(run_words(NULL, NULL, bifold_path(), "doctor", NULL), "doctor");
	expect_narrow(run_words(NULL, NULL, bifold_path(), "bench", "translation", "--quiet",
				"--most", "256K", "--rounds", "1", "--passes", "1", "--events", "5",
				NULL),
		      "bench");
	guest = start_hold(WORDS("--budget", "12M"));
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const char *argv[8] = { bifold_path(), rows[i][0] };
		size_t count = 2, from = 1;

		if (rows[i][1] != NULL && rows[i][1][0] == '-')
			argv[count++] = rows[i][from++];
		argv[count++] = socket_path();
		while (rows[i][from] != NULL)
			argv[count++] = rows[i][from++];
		asked = child_start(argv, NULL);
		child_finish(asked, NULL, 0);
		expect_narrow(asked, rows[i][0]);
		child_forget(asked);
	}
	end_hold(guest);
}

Test(messages, dash_is_standard_output)
{
	struct child *child;
	json_t *report;

	need_kvm();
	child = run_bifold_in(in_scratch, "--memory", "32M", "--report", "-", busybox_path(),
			      "true");
	cr_assert_eq(child->status, 0, "%s", child->err_text);
	report = json_loads(child->out_text, 0, NULL);
	cr_expect(json_is_object(report), "%s", child->out_text);
	cr_expect(json_is_integer(json_object_get(report, "exit_status")));
	json_decref(report);
	cr_expect_eq(access(scratch_path("-"), F_OK), -1);
}

Test(messages, of_a_guest)
{
	struct child *guest, *asked;

	need_kvm();
	guest = start_hold(NO_WORDS);
	asked = run_words(NULL, NULL, bifold_path(), "translate", socket_path(),
			  "0xffffffff80200000", NULL);
	cr_expect_eq(asked->status, 0, "%s", asked->err_text);
	/* So that scripts can ask. */
	asked = run_words(NULL, NULL, bifold_path(), "translate", socket_path(), "0", NULL);
	cr_expect_eq(asked->status, 1);
	cr_expect_not_null(strstr(asked->out_text, "stops here"), "%s", asked->out_text);
	asked = run_words(NULL, NULL, bifold_path(), "translate", "--json", "--brief",
			  socket_path(), "0xffffffff80200000", "0", NULL);
	cr_expect_eq(asked->status, 1);
	asked = run_words(NULL, NULL, bifold_path(), "maps", "--plot", "-", socket_path(), NULL);
	cr_expect_eq(asked->status, 0, "%s", asked->err_text);
	cr_expect_eq(strncmp(asked->out_text, "<svg", 4) == 0 ||
			     strncmp(asked->out_text, "<?xml", 5) == 0,
		     1, "%.200s", asked->out_text);
	cr_expect_not_null(strstr(asked->out_text, "</svg>\n"));
	end_hold(guest);
}
