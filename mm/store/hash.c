#include "mm/store/hash.h"

#include <errno.h>
#include <sys/random.h>

_Static_assert(HASH_KEY_BYTES >= XXH3_SECRET_SIZE_MIN, "a secret that XXH3 takes");

int hash_key_make(struct hash_key *key)
{
	size_t done = 0;

	while (done < HASH_KEY_BYTES) {
		ssize_t n = getrandom(key->secret + done, HASH_KEY_BYTES - done, 0);

		if (n < 0 && errno != EINTR)
			return -errno;
		done += n > 0 ? (size_t)n : 0;
	}
	return 0;
}
