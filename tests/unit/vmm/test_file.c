/* Outputs that are tried before some work and written after it: what is there meanwhile, and what
 * is left when the work, or the writing, comes to nothing. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/common/file.h"

static char folder[64], path[96], other[96];
static struct file_output output;

static void init(void)
{
	strcpy(folder, "/tmp/bifold-file-XXXXXX");
	cr_assert(mkdtemp(folder) != NULL);
	snprintf(path, sizeof(path), "%s/out", folder);
	snprintf(other, sizeof(other), "%s/other", folder);
}

static void finish(void)
{
	unlink(path);
	unlink(other);
	rmdir(folder);
}

TestSuite(file, .init = init, .fini = finish, .timeout = 60);

static void put(const char *at, const char *text)
{
	FILE *file = fopen(at, "w");

	cr_assert(file != NULL && fputs(text, file) >= 0);
	fclose(file);
}

/* NULL: it is not there. */
static void expect(const char *at, const char *text)
{
	char found[64] = "";
	FILE *file = fopen(at, "r");

	if (text == NULL) {
		cr_assert(file == NULL && errno == ENOENT, "%s is there", at);
		return;
	}
	cr_assert(file != NULL, "%s is not there", at);
	fread(found, 1, sizeof(found) - 1, file);
	fclose(file);
	cr_assert_str_eq(found, text);
}

static void open_it(void)
{
	cr_assert_eq(file_open_output(path, &output), 0);
}

static void write_it(void)
{
	cr_assert_eq(file_begin(&output), 0);
	fputs("new", output.file);
	cr_assert_eq(file_end(&output, 0), 0);
	expect(path, "new");
}

/* From here on no write succeeds. */
static void fill_disk(void)
{
	const struct rlimit limit = { 0, 0 };

	signal(SIGXFSZ, SIG_IGN);
	cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void fail_to_write_it(void)
{
	cr_assert_eq(file_begin(&output), 0);
	fputs("new", output.file);
	cr_assert_eq(file_end(&output, 0), -EFBIG);
}

/* Nor if the command is killed before it writes, which is as good as never to close. */
Test(file, new_one_is_there_only_when_it_is_written)
{
	open_it();
	expect(path, NULL);
	cr_assert_eq(file_end(&output, 0), 0);
	expect(path, NULL);
	open_it();
	write_it();
}

Test(file, new_one_that_cannot_be_written_is_removed)
{
	open_it();
	fill_disk();
	fail_to_write_it();
	expect(path, NULL);
}

/* The writer's own error is what is told; what it had written stays. */
Test(file, error_of_the_writer)
{
	open_it();
	cr_assert_eq(file_begin(&output), 0);
	cr_assert_eq(file_end(&output, -EBADMSG), -EBADMSG);
	expect(path, NULL);
	open_it();
	cr_assert_eq(file_begin(&output), 0);
	fputs("ne", output.file);
	cr_assert_eq(file_end(&output, -EBADMSG), -EBADMSG);
	expect(path, "ne");
}

Test(file, old_one_stays_until_it_is_written)
{
	put(path, "older");
	open_it();
	expect(path, "older");
	cr_assert_eq(file_end(&output, 0), 0);
	expect(path, "older");
	open_it();
	write_it();
}

/* It was the user's, and not ours to remove. */
Test(file, old_one_that_cannot_be_written_is_left)
{
	put(path, "older");
	open_it();
	fill_disk();
	fail_to_write_it();
	expect(path, "");
}

Test(file, old_empty_one_is_left)
{
	put(path, "");
	open_it();
	cr_assert_eq(file_end(&output, 0), 0);
	expect(path, "");
}

Test(file, one_that_goes_meanwhile_is_made_again)
{
	put(path, "older");
	open_it();
	unlink(path);
	write_it();
}

/* Of two with the same name, one that gives up takes nothing from the other. */
Test(file, two_with_the_same_name)
{
	struct file_output second;

	open_it();
	cr_assert_eq(file_open_output(path, &second), 0);
	cr_assert_eq(file_end(&second, 0), 0);
	write_it();
}

Test(file, link_that_leads_nowhere_is_kept)
{
	struct stat status;

	cr_assert_eq(symlink("other", path), 0);
	open_it();
	expect(other, NULL);
	cr_assert(lstat(path, &status) == 0 && S_ISLNK(status.st_mode));
	write_it();
	expect(other, "new");
	cr_assert(lstat(path, &status) == 0 && S_ISLNK(status.st_mode));
}

Test(file, what_cannot_be_written_is_refused_at_once)
{
	cr_assert_eq(file_open_output(folder, &output), -EISDIR);
	cr_assert_eq(mkfifo(other, 0600), 0);
	cr_assert_eq(file_open_output(other, &output), -ENXIO);
	snprintf(path, sizeof(path), "%s/none/out", folder);
	cr_assert_eq(file_open_output(path, &output), -ENOENT);
	cr_assert_eq(file_end(&output, 0), 0);
}

Test(file, reader_of_a_fifo_is_held)
{
	char text[8] = "";
	int fd;

	cr_assert_eq(mkfifo(path, 0600), 0);
	fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	open_it();
	cr_assert_eq(read(fd, text, sizeof(text)), -1, "nobody writes there");
	cr_assert_eq(file_begin(&output), 0);
	fputs("new", output.file);
	cr_assert_eq(file_end(&output, 0), 0);
	cr_assert_eq(read(fd, text, sizeof(text)), 3);
	close(fd);
}
