/* What the programs that check the kernel share. */
#include "guest/programs/check.h"

unsigned failures;

static char text[64 << 10];

void expect(bool condition, const char *what)
{
	if (condition)
		return;
	print("wrong: %s\n", what);
	failures++;
}

void *map(void *at, size_t size, int protection, int flags, int fd)
{
	long result = syscall6(SYS_MMAP, (long)at, size, protection, flags, fd, 0);

	return result < 0 && result > -4096 ? NULL : (void *)result;
}

void mark(void *memory, size_t pages, uint64_t seed)
{
	uint64_t *word = memory;

	for (size_t i = 0; i < pages; i++)
		word[i * 512 + 3] = mix(seed + i);
}

bool marked(const void *memory, size_t pages, uint64_t seed)
{
	const uint64_t *word = memory;

	for (size_t i = 0; i < pages; i++) {
		if (word[i * 512 + 3] != mix(seed + i))
			return false;
	}
	return true;
}

bool is_zero(const void *memory, size_t size)
{
	const uint64_t *word = memory;
	uint64_t any = 0;

	for (size_t i = 0; i < size / 8; i++)
		any |= word[i];
	return any == 0;
}

int in_child(int (*body)(void *), void *argument)
{
	int status = -1;
	long pid = syscall3(SYS_FORK, 0, 0, 0);

	if (pid == 0)
		exit(body(argument));
	if (pid < 0 || syscall6(SYS_WAIT4, pid, (long)&status, 0, 0, 0, 0) != pid)
		return -1;
	return status;
}

const char *read_text(const char *path)
{
	long fd = syscall3(SYS_OPEN, path, 0, 0), got;
	size_t used = 0;

	while (fd >= 0 && (got = syscall3(SYS_READ, fd, text + used, sizeof(text) - 1 - used)) > 0)
		used += got;
	syscall3(SYS_CLOSE, fd, 0, 0);
	text[used] = 0;
	return text;
}

static bool is_hex(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
}

static uint64_t parse_hex(const char **at)
{
	uint64_t value = 0;

	for (; is_hex(**at); (*at)++)
		value = value << 4 | (**at <= '9' ? **at - '0' : **at - 'a' + 10);
	return value;
}

static const char *next_line(const char *at)
{
	while (*at && *at != '\n')
		at++;
	return *at ? at + 1 : NULL;
}

const char *area_line(const char *all, const void *address)
{
	for (const char *line = all; line && *line; line = next_line(line)) {
		const char *at = line;
		uint64_t start = parse_hex(&at), end;

		if (at == line || *at++ != '-')
			continue;
		end = parse_hex(&at);
		if (start <= (uint64_t)address && (uint64_t)address < end)
			return line;
	}
	return NULL;
}

bool begins(const char *at, const char *words)
{
	while (*words && *at == *words) {
		at++;
		words++;
	}
	return !*words;
}

/* The number of a line: behind its name and spaces. */
static long line_number(const char *line)
{
	long value = 0;

	while (*line == ' ')
		line++;
	for (; *line >= '0' && *line <= '9'; line++)
		value = value * 10 + *line - '0';
	return value;
}

long area_number(const void *address, const char *name)
{
	const char *line = area_line(read_text("/proc/self/smaps"), address);

	while (line && (line = next_line(line)) && !is_hex(*line)) {
		if (begins(line, name))
			return line_number(line + strlen(name));
	}
	return -1;
}

long file_number(const char *path, const char *name)
{
	size_t length = strlen(name);

	for (const char *line = read_text(path); line; line = next_line(line)) {
		if (begins(line, name) && line[length] == ' ')
			return line_number(line + length);
	}
	return -1;
}

void write_text(const char *path, const char *words)
{
	long fd = syscall3(SYS_OPEN, path, 1, 0);
	long written = syscall3(SYS_WRITE, fd, words, strlen(words));

	if (written < 0) {
		print("%s does not take '%s': %ld\n", path, words, written);
		exit(1);
	}
	syscall3(SYS_CLOSE, fd, 0, 0);
}
