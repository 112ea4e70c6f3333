/* Functions shared by the programs that check the kernel. */
#include "guest/programs/runtime/check.h"

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

long try_write(const char *path, const char *words)
{
	long fd = syscall3(SYS_OPEN, path, 1, 0);
	long done = fd < 0 ? fd : syscall3(SYS_WRITE, fd, words, strlen(words));

	if (fd >= 0)
		syscall3(SYS_CLOSE, fd, 0, 0);
	return done;
}

bool write_text(const char *path, const char *words)
{
	return try_write(path, words) == (long)strlen(words);
}

void must_write(const char *path, const char *words)
{
	if (write_text(path, words))
		return;
	print("%s does not take '%s'\n", path, words);
	exit(1);
}

unsigned put_number(char *to, uint64_t value)
{
	char digits[24];
	unsigned at = sizeof(digits), length;

	do {
		digits[--at] = (char)('0' + value % 10);
		value /= 10;
	} while (value > 0);
	length = sizeof(digits) - at;
	memcpy(to, digits + at, length);
	to[length] = 0;
	return length;
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

long parse_number(const char **at)
{
	long value = 0;

	while (**at && **at != '\n' && (**at < '0' || **at > '9'))
		(*at)++;
	if (!**at || **at == '\n')
		return -1;
	for (; **at >= '0' && **at <= '9'; (*at)++)
		value = value * 10 + **at - '0';
	return value;
}

const char *line_of(const char *all, const char *words)
{
	while (all && *all && !begins(all, words))
		all = next_line(all);
	return all && *all ? all : NULL;
}

long file_number(const char *path, const char *name)
{
	const char *line = line_of(read_text(path), name);

	if (!line || (line[strlen(name)] != ' ' && line[strlen(name)] != '\t'))
		return -1;
	line += strlen(name);
	return parse_number(&line);
}

long area_number(const void *address, const char *name)
{
	const char *line = area_line(read_text("/proc/self/smaps"), address);

	while (line && (line = next_line(line)) && !is_hex(*line)) {
		long value = 0;

		if (!begins(line, name))
			continue;
		for (line += strlen(name); *line == ' '; line++)
			;
		for (; *line >= '0' && *line <= '9'; line++)
			value = value * 10 + *line - '0';
		return value;
	}
	return -1;
}
