/*
 * A page of 512 words becomes 128 bytes of tags, two bits a word, and a stream:
 *   ZERO     nothing
 *   SAME     a byte: the dictionary's word
 *   NEAR     a byte, and 2 bytes: the dictionary's word but for its lowest 16 bits
 *   MISS     8 bytes: the word, which goes into the dictionary
 */
#include "guest/lib/compress.h"
#include "guest/lib/string.h"

enum tag { ZERO, SAME, NEAR, MISS };

#define WORDS	   512
#define TAG_BYTES  (WORDS / 4)
#define DICTIONARY 64
#define LOW_BITS   16

static inline unsigned place_of(uint64_t word)
{
	return (word >> LOW_BITS) * 0x9e3779b97f4a7c15ull >> 58;
}

unsigned compress_page(const uint64_t *page, uint8_t *to)
{
	uint64_t dictionary[DICTIONARY];
	uint8_t *out = to + TAG_BYTES;

	memset(dictionary, 0, sizeof(dictionary));
	for (unsigned i = 0; i < TAG_BYTES; i++) {
		unsigned tags = 0;

		for (unsigned j = 0; j < 4; j++) {
			uint64_t word = *page++, *slot;
			unsigned place;

			if (!word)
				continue;
			place = place_of(word);
			slot = &dictionary[place];
			if (*slot == word) {
				tags |= SAME << 2 * j;
				*out++ = (uint8_t)place;
			} else if (*slot >> LOW_BITS == word >> LOW_BITS) {
				tags |= NEAR << 2 * j;
				*out = (uint8_t)place;
				__builtin_memcpy(out + 1, &word, 2);
				out += 3;
				*slot = word;
			} else {
				tags |= MISS << 2 * j;
				__builtin_memcpy(out, &word, 8);
				out += 8;
				*slot = word;
			}
		}
		to[i] = (uint8_t)tags;
	}
	return out - to;
}

bool decompress_page(const uint8_t *from, unsigned length, uint64_t *page)
{
	static const uint8_t taken[] = { [ZERO] = 0, [SAME] = 1, [NEAR] = 3, [MISS] = 8 };
	const uint8_t *in = from + TAG_BYTES, *end = from + length;
	uint64_t dictionary[DICTIONARY];

	if (length < TAG_BYTES)
		return false;
	memset(dictionary, 0, sizeof(dictionary));
	for (unsigned i = 0; i < WORDS; i++) {
		enum tag tag = from[i / 4] >> 2 * (i % 4) & 3;
		uint64_t word = 0;

		if (end - in < taken[tag])
			return false;
		if (tag == MISS) {
			__builtin_memcpy(&word, in, 8);
			dictionary[place_of(word)] = word;
		} else if (tag != ZERO) {
			word = dictionary[*in % DICTIONARY];
			if (tag == NEAR) {
				__builtin_memcpy(&word, in + 1, 2);
				dictionary[*in % DICTIONARY] = word;
			}
		}
		in += taken[tag];
		page[i] = word;
	}
	return in == end;
}
