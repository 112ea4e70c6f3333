/*
 * The hashes that vouch for content: that a page still equals its stored copy, and that content
 * comes back from the pool or the swap file as it went there.
 *
 * XXH3 is quick but not cryptographic. Without a key, or with one of 64 bits, two contents of equal
 * hash are made at will: then a page would be called unchanged that has changed, and the guest's
 * last write be lost. So each VM hashes with 192 random bytes of its own (XXH3's whole secret),
 * which the guest cannot see. Against damage, which does not aim, 128 bits miss one change in 2^128
 * and the pool's 64 one in 2^64.
 */
#ifndef MM_STORE_HASH_H
#define MM_STORE_HASH_H

#include <stddef.h>
#include <stdint.h>
#include <xxhash.h>

#include "base/addr.h"

#define HASH_KEY_BYTES 192

struct hash_key {
	uint8_t secret[HASH_KEY_BYTES];
};

/* Random bytes from the host. 0 or -errno of getrandom(). */
int hash_key_make(struct hash_key *key);

/* Of a page. */
static inline XXH128_hash_t hash_page(const struct hash_key *key, const void *page)
{
	return XXH3_128bits_withSecret(page, PAGE_SIZE, key->secret, HASH_KEY_BYTES);
}

/* Of a compressed object. */
static inline uint64_t hash_object(const struct hash_key *key, const void *data, size_t length)
{
	return XXH3_64bits_withSecret(data, length, key->secret, HASH_KEY_BYTES);
}

#endif
