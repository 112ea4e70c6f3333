/*
 * Encodes the bytes of one page: same-filled detection, compression, checksums. A struct codec is
 * one thread's scratch memory at a time. A page is PAGE_SIZE bytes.
 */
#ifndef MM_STORE_CODEC_H
#define MM_STORE_CODEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <xxhash.h>

#include "mm/store/compressor.h"

struct codec {
	enum mm_compressor kind;
	void *scratch;	 /* lz4's state, or zstd's compression context */
	void *unscratch; /* zstd's decompression context */
};

/* Host memory one codec holds, in bytes, rounded up. */
size_t codec_bytes(enum mm_compressor kind);

/* 0 or -ENOMEM. */
int codec_init(struct codec *codec, enum mm_compressor kind);
void codec_finish(struct codec *codec); /* takes a zeroed codec too */

/*
 * Compress page into at most limit bytes at out. The length, or 0 when it does not fit. The page
 * must not change meanwhile.
 */
size_t codec_compress(struct codec *codec, const void *page, void *out, size_t limit);

/* The way back: exactly a page comes out, or -EBADMSG. */
int codec_decompress(struct codec *codec, const void *data, size_t length, void *page);

/* The same without a codec at hand; zstd takes a context from the heap meanwhile (-ENOMEM). */
int codec_decompress_once(enum mm_compressor kind, const void *data, size_t length, void *page);

const char *codec_name(enum mm_compressor kind);

/* Is the page one 64-bit word over and over? Which? */
bool codec_same_filled(const void *page, uint64_t *word);

/* The page full of word. */
void codec_fill_word(void *page, uint64_t word);

#endif
