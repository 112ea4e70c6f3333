/* printf into a buffer. */
#include "guest/lib/format.h"

struct sink {
	char *buffer;
	size_t size, used;
};

struct spec {
	unsigned width;
	bool zero, left, wide;
};

static void put(struct sink *sink, char c)
{
	if (sink->used + 1 < sink->size)
		sink->buffer[sink->used++] = c;
}

static void put_field(struct sink *sink, const char *text, unsigned length, const struct spec *spec)
{
	unsigned pad = spec->width > length ? spec->width - length : 0;
	char fill = spec->zero && !spec->left ? '0' : ' ';

	for (; pad > 0 && !spec->left; pad--)
		put(sink, fill);
	for (unsigned i = 0; i < length; i++)
		put(sink, text[i]);
	for (; pad > 0; pad--)
		put(sink, ' ');
}

static void put_number(struct sink *sink, uint64_t value, unsigned base, bool negative,
		       const struct spec *spec)
{
	char digits[24];
	unsigned at = sizeof(digits);

	do {
		digits[--at] = "0123456789abcdef"[value % base];
		value /= base;
	} while (value);
	if (negative)
		digits[--at] = '-';
	put_field(sink, digits + at, sizeof(digits) - at, spec);
}

static const char *parse_spec(const char *text, struct spec *spec)
{
	*spec = (struct spec){ 0 };
	for (;; text++) {
		if (*text == '0')
			spec->zero = true;
		else if (*text == '-')
			spec->left = true;
		else
			break;
	}
	for (; *text >= '0' && *text <= '9'; text++)
		spec->width = spec->width * 10 + (*text - '0');
	for (; *text == 'l' || *text == 'z'; text++)
		spec->wide = true;
	return text;
}

static void put_string(struct sink *sink, const char *text, const struct spec *spec)
{
	unsigned length = 0;

	if (!text)
		text = "(null)";
	while (text[length])
		length++;
	put_field(sink, text, length, spec);
}

static void put_signed(struct sink *sink, int64_t value, const struct spec *spec)
{
	put_number(sink, value < 0 ? -(uint64_t)value : (uint64_t)value, 10, value < 0, spec);
}

size_t format_list(char *buffer, size_t size, const char *text, va_list list)
{
	struct sink sink = { buffer, size, 0 };
	struct spec spec;

	for (; *text; text++) {
		if (*text != '%') {
			put(&sink, *text);
			continue;
		}
		text = parse_spec(text + 1, &spec);
		switch (*text) {
		case 'd':
		case 'i':
			put_signed(&sink, spec.wide ? va_arg(list, int64_t) : va_arg(list, int),
				   &spec);
			break;
		case 'u':
		case 'x':
			put_number(&sink,
				   spec.wide ? va_arg(list, uint64_t) : va_arg(list, unsigned),
				   *text == 'u' ? 10 : 16, false, &spec);
			break;
		case 'p':
			put_number(&sink, va_arg(list, uint64_t), 16, false, &spec);
			break;
		case 's':
			put_string(&sink, va_arg(list, const char *), &spec);
			break;
		case 'c':
			put(&sink, (char)va_arg(list, int));
			break;
		case 0:
			text--;
			break;
		default:
			put(&sink, *text);
		}
	}
	if (size)
		buffer[sink.used] = 0;
	return sink.used;
}

size_t format(char *buffer, size_t size, const char *text, ...)
{
	va_list list;
	size_t used;

	va_start(list, text);
	used = format_list(buffer, size, text, list);
	va_end(list);
	return used;
}
