#include "mm/store/codec.h"

#include <errno.h>
#include <lz4.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "base/addr.h"
#include "base/check.h"
#include "base/lock.h"

/*
 * zstd sizes a context by its input: for one page at level 1 it takes about this much
 * (tests/unit holds it to that).
 */
#define ZSTD_LEVEL	   1
#define ZSTD_SCRATCH_BYTES (320 * 1024)

size_t codec_bytes(enum mm_compressor kind)
{
	switch (kind) {
	case MM_COMPRESSOR_LZ4:
		return (size_t)LZ4_sizeofState();
	case MM_COMPRESSOR_ZSTD:
		return ZSTD_SCRATCH_BYTES;
	case MM_COMPRESSOR_NONE:
		break;
	}
	return 0;
}

int codec_init(struct codec *codec, enum mm_compressor kind)
{
	*codec = (struct codec){ .kind = kind };
	if (kind == MM_COMPRESSOR_LZ4) {
		codec->scratch = malloc((size_t)LZ4_sizeofState());
		if (codec->scratch == NULL)
			return -ENOMEM;
	} else if (kind == MM_COMPRESSOR_ZSTD) {
		codec->scratch = ZSTD_createCCtx();
		codec->unscratch = ZSTD_createDCtx();
		if (codec->scratch == NULL || codec->unscratch == NULL) {
			codec_finish(codec);
			return -ENOMEM;
		}
	}
	return 0;
}

void codec_finish(struct codec *codec)
{
	if (codec->kind == MM_COMPRESSOR_ZSTD) {
		ZSTD_freeCCtx(codec->scratch);
		ZSTD_freeDCtx(codec->unscratch);
	} else {
		free(codec->scratch);
	}
	*codec = (struct codec){ .kind = MM_COMPRESSOR_NONE };
}

size_t codec_compress(struct codec *codec, const void *page, void *out, size_t limit)
{
	LOCK_CHECK();
	if (codec->kind == MM_COMPRESSOR_LZ4) {
		int n = LZ4_compress_fast_extState(codec->scratch, page, out, PAGE_SIZE, (int)limit,
						   1);

		return n > 0 ? (size_t)n : 0;
	}
	if (codec->kind == MM_COMPRESSOR_ZSTD) {
		size_t n =
			ZSTD_compressCCtx(codec->scratch, out, limit, page, PAGE_SIZE, ZSTD_LEVEL);

		return ZSTD_isError(n) ? 0 : n;
	}
	return 0;
}

int codec_decompress(struct codec *codec, const void *data, size_t length, void *page)
{
	LOCK_CHECK();
	if (codec->kind == MM_COMPRESSOR_LZ4)
		return LZ4_decompress_safe(data, page, (int)length, PAGE_SIZE) == (int)PAGE_SIZE
			       ? 0
			       : -EBADMSG;
	CHECK(codec->kind == MM_COMPRESSOR_ZSTD);
	return ZSTD_decompressDCtx(codec->unscratch, page, PAGE_SIZE, data, length) == PAGE_SIZE
		       ? 0
		       : -EBADMSG;
}

int codec_decompress_once(enum mm_compressor kind, const void *data, size_t length, void *page)
{
	struct codec codec = { .kind = kind };
	int error;

	if (kind == MM_COMPRESSOR_ZSTD) {
		codec.unscratch = ZSTD_createDCtx();
		if (codec.unscratch == NULL)
			return -ENOMEM;
	}
	error = codec_decompress(&codec, data, length, page);
	codec_finish(&codec);
	return error;
}

const char *codec_name(enum mm_compressor kind)
{
	static const char *const names[] = {
		[MM_COMPRESSOR_NONE] = "none",
		[MM_COMPRESSOR_LZ4] = "lz4",
		[MM_COMPRESSOR_ZSTD] = "zstd",
	};

	return names[kind];
}

bool codec_same_filled(const void *page, uint64_t *word)
{
	const uint64_t *words = page;

	/* Most pages differ early; for the others memcmp against itself, one word on, is fastest.
	 */
	if (words[0] != words[PAGE_SIZE / 16] || words[0] != words[1])
		return false;
	if (memcmp(words, words + 1, PAGE_SIZE - sizeof(*words)) != 0)
		return false;
	*word = words[0];
	return true;
}

void codec_fill_word(void *page, uint64_t word)
{
	uint64_t *words = page;

	for (size_t i = 0; i < PAGE_SIZE / sizeof(*words); i++)
		words[i] = word;
}
