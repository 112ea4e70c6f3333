/*
 * Compression of a page for the swap, made for few instructions: 64-bit words against a small
 * dictionary of recent ones, after WKdm (Wilson, Kaplan and Smaragdakis, "The Case for Compressed
 * Caching in Virtual Memory Systems", USENIX 1999), which does it with 32-bit words.
 */
#ifndef GUEST_LIB_COMPRESS_H
#define GUEST_LIB_COMPRESS_H

#include "guest/lib/types.h"

#define COMPRESS_ROOM 5120 /* the room that `to` must have, whatever the page is */

/* Returns the compressed length, which may exceed a page. */
unsigned compress_page(const uint64_t *page, uint8_t *to);

/* False when `from` is not what compress_page() makes. */
bool decompress_page(const uint8_t *from, unsigned length, uint64_t *page);

#endif
