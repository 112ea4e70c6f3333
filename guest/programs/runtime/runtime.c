/* The runtime of quire's own programs. */
#include "guest/programs/runtime/runtime.h"

/* The stack holds argc, then argv. */
__asm__(".globl _start\n"
	"_start:\n"
	"	xorl %ebp, %ebp\n"
	"	movq (%rsp), %rdi\n"
	"	leaq 8(%rsp), %rsi\n"
	"	andq $-16, %rsp\n"
	"	call main\n"
	"	movl %eax, %edi\n"
	"	call exit\n"
	"	.section .note.GNU-stack, \"\", @progbits\n"
	"	.text\n");

void exit(int status)
{
	for (;;)
		syscall3(SYS_EXIT_GROUP, status, 0, 0);
}

void *memcpy(void *to, const void *from, size_t length)
{
	void *d = to;

	__asm__ volatile("rep movsb" : "+D"(d), "+S"(from), "+c"(length) : : "memory");
	return to;
}

void *memset(void *to, int byte, size_t length)
{
	void *d = to;

	__asm__ volatile("rep stosb" : "+D"(d), "+c"(length) : "a"(byte) : "memory");
	return to;
}

size_t strlen(const char *text)
{
	size_t length = 0;

	while (text[length])
		length++;
	return length;
}

bool equal(const char *a, const char *b)
{
	for (; *a && *a == *b; a++, b++)
		;
	return *a == *b;
}

static __attribute__((aligned(1024))) char line[1024]; /* in one page */
static size_t used;

static void put(char c)
{
	if (used < sizeof(line))
		line[used++] = c;
}

static void put_text(const char *text, size_t length, unsigned width, bool left)
{
	for (size_t pad = length; !left && pad < width; pad++)
		put(' ');
	for (size_t i = 0; i < length; i++)
		put(text[i]);
	for (; left && length < width; length++)
		put(' ');
}

static void put_number(uint64_t value, unsigned base, bool negative, unsigned width, bool left)
{
	char digits[24];
	unsigned at = sizeof(digits);

	do {
		digits[--at] = "0123456789abcdef"[value % base];
		value /= base;
	} while (value);
	if (negative)
		digits[--at] = '-';
	put_text(digits + at, sizeof(digits) - at, width, left);
}

static const char *put_field(const char *format, va_list list)
{
	unsigned width = 0;
	bool wide = false, left = false;
	const char *text;
	int64_t value;

	for (; *format == '-'; format++)
		left = true;
	for (; *format >= '0' && *format <= '9'; format++)
		width = width * 10 + (*format - '0');
	for (; *format == 'l'; format++)
		wide = true;
	switch (*format) {
	case 'd':
		value = wide ? va_arg(list, int64_t) : va_arg(list, int);
		put_number(value < 0 ? -(uint64_t)value : (uint64_t)value, 10, value < 0, width,
			   left);
		break;
	case 'u':
	case 'x':
		put_number(wide ? va_arg(list, uint64_t) : va_arg(list, unsigned),
			   *format == 'u' ? 10 : 16, false, width, left);
		break;
	case 's':
		text = va_arg(list, const char *);
		put_text(text, strlen(text), width, left);
		break;
	default:
		put(*format);
	}
	return format;
}

static void print_to(int fd, const char *format, va_list list)
{
	va_list copy;

	va_copy(copy, list);
	used = 0;
	for (; *format; format++) {
		if (*format == '%')
			format = put_field(format + 1, copy);
		else
			put(*format);
	}
	va_end(copy);
	syscall3(SYS_WRITE, fd, line, used);
}

void print(const char *format, ...)
{
	va_list list;

	va_start(list, format);
	print_to(1, format, list);
	va_end(list);
}

void print_error(const char *format, ...)
{
	va_list list;

	va_start(list, format);
	print_to(2, format, list);
	va_end(list);
}

bool parse_size(const char *text, uint64_t *value)
{
	static const char units[] = "KMGT";
	const char *start = text;

	*value = 0;
	for (; *text >= '0' && *text <= '9'; text++) {
		if (__builtin_mul_overflow(*value, 10, value) ||
		    __builtin_add_overflow(*value, (uint64_t)(*text - '0'), value))
			return false;
	}
	if (text == start)
		return false;
	for (unsigned i = 0; *text && units[i]; i++) {
		if ((*text & ~0x20) == units[i]) {
			if (*value >> (64 - 10 * (i + 1)))
				return false;
			*value <<= 10 * (i + 1);
			return !text[1];
		}
	}
	return !*text;
}

void *map_memory(size_t size, int protection)
{
	long result = syscall6(SYS_MMAP, 0, size, protection,
			       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return result < 0 && result > -4096 ? NULL : (void *)result;
}

uint64_t now(void)
{
	struct timespec time = { 0, 0 };

	syscall3(SYS_CLOCK_GETTIME, 1, &time, 0);
	return time.seconds * 1000000000ull + time.nanoseconds;
}
