/* Codecs: there and back, limits, damage, and what they are said to hold of memory. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <zstd.h>

#include "base/addr.h"
#include "mm/store/codec.h"
#include "mm/store/pool.h"
#include "tests/unit/mm/fake.h"

static unsigned char page[PAGE_SIZE] __attribute__((aligned(8)));
static unsigned char back[PAGE_SIZE] __attribute__((aligned(8)));
static unsigned char packed[POOL_OBJECT_MAX];

static void there_and_back(enum mm_compressor kind)
{
	struct codec codec;

	cr_assert_eq(codec_init(&codec, kind), 0);
	for (uint32_t i = 0; i < 200; i++) {
		content_make(page, i % 2 ? CONTENT_TEXT : CONTENT_HALF, i, 1);

		size_t n = codec_compress(&codec, page, packed, sizeof(packed));

		cr_assert(n > 0 && n <= sizeof(packed));
		cr_assert_eq(codec_decompress(&codec, packed, n, back), 0);
		cr_assert_eq(memcmp(page, back, PAGE_SIZE), 0);
		cr_assert_eq(codec_compress(&codec, page, packed, n / 2), 0, "over the limit");
		cr_assert_eq(codec_decompress(&codec, packed, 10, back), -EBADMSG);
	}
	content_make(page, CONTENT_RANDOM, 1, 1);
	cr_assert_eq(codec_compress(&codec, page, packed, sizeof(packed)), 0);
	codec_finish(&codec);
}

Test(codec, lz4)
{
	there_and_back(MM_COMPRESSOR_LZ4);
}

Test(codec, zstd)
{
	there_and_back(MM_COMPRESSOR_ZSTD);
}

/* Random bytes as input may decode to anything or nothing, but never beyond the page. */
Test(codec, hostile_input)
{
	struct codec codec;
	uint64_t rng = 4242;

	for (int kind = MM_COMPRESSOR_LZ4; kind <= MM_COMPRESSOR_ZSTD; kind++) {
		cr_assert_eq(codec_init(&codec, kind), 0);
		for (uint32_t i = 0; i < 2000; i++) {
			for (size_t k = 0; k < sizeof(packed); k++)
				packed[k] = (unsigned char)(rng_next(&rng) >> 56);
			int error = codec_decompress(&codec, packed,
						     1 + rng_below(&rng, sizeof(packed)), back);

			cr_assert(error == 0 || error == -EBADMSG);
		}
		codec_finish(&codec);
	}
}

Test(codec, zstd_holds_what_is_charged)
{
	struct codec codec;

	cr_assert_eq(codec_init(&codec, MM_COMPRESSOR_ZSTD), 0);
	content_make(page, CONTENT_TEXT, 1, 1);
	size_t n = codec_compress(&codec, page, packed, sizeof(packed));

	cr_assert_eq(codec_decompress(&codec, packed, n, back), 0);
	cr_assert_leq(ZSTD_sizeof_CCtx(codec.scratch) + ZSTD_sizeof_DCtx(codec.unscratch),
		      codec_bytes(MM_COMPRESSOR_ZSTD), "%zu and %zu",
		      ZSTD_sizeof_CCtx(codec.scratch), ZSTD_sizeof_DCtx(codec.unscratch));
	codec_finish(&codec);
}

Test(codec, same_filled)
{
	uint64_t word;

	for (size_t at = 0; at < PAGE_SIZE; at++) {
		codec_fill_word(page, 0x1122334455667788);
		cr_assert(codec_same_filled(page, &word));
		cr_assert_eq(word, 0x1122334455667788);
		page[at] ^= 1;
		cr_assert_not(codec_same_filled(page, &word), "a byte differs at %zu", at);
	}
}
