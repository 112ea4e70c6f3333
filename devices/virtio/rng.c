/* Bytes of getrandom(), through a small buffer; a guest that asks without end waits its turn. */
#include "devices/virtio/rng.h"

#include <errno.h>
#include <linux/virtio_ids.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "devices/virtio/virtio.h"

#define CHUNK	    4096  /* bytes a chain at most; a driver that wants more asks again */
#define ROUND_BYTES 65536 /* before others have their turn */

struct virtio_rng {
	struct virtio virtio;
};

/* Returns how many random bytes the chain got; 0: none, and the device is broken. */
static size_t fill(struct virtio_rng *rng, const struct virtio_chain *chain)
{
	uint8_t bytes[CHUNK];
	size_t wanted = chain->writable_bytes < CHUNK ? chain->writable_bytes : CHUNK;
	ssize_t n;

	if (wanted == 0 || chain->readable > 0) {
		virtio_break(&rng->virtio, "a buffer that randomness cannot be written to");
		return 0;
	}
	do {
		n = getrandom(bytes, wanted, 0);
	} while (n < 0 && errno == EINTR);
	if (n <= 0) {
		virtio_break(&rng->virtio, "the host has no randomness: %s", strerror(errno));
		return 0;
	}
	return virtio_write(&rng->virtio, chain, 0, bytes, (size_t)n);
}

static void notify(void *device, unsigned queue)
{
	struct virtio_rng *rng = device;
	struct virtio_chain chain;
	size_t given = 0;

	while (given < ROUND_BYTES && virtio_pop(&rng->virtio, queue, &chain)) {
		size_t n = fill(rng, &chain);

		virtio_push(&rng->virtio, queue, chain.head, (uint32_t)n);
		given += n;
	}
	virtio_signal(&rng->virtio, queue);
	if (given >= ROUND_BYTES)
		virtio_kick(&rng->virtio, queue);
}

static const struct virtio_ops ops = {
	.name = "rng",
	.id = VIRTIO_ID_RNG,
	.queue_count = 1,
	.notify = notify,
};

int virtio_rng_create(struct ept_space *space, struct loop *loop, struct virtio_rng **out)
{
	struct virtio_rng *rng = calloc(1, sizeof(*rng));
	int error;

	if (rng == NULL)
		return -ENOMEM;
	error = virtio_init(&rng->virtio, &(struct virtio_config){
						  .ops = &ops,
						  .device = rng,
						  .space = space,
						  .loop = loop,
					  });
	if (error != 0) {
		free(rng);
		return error;
	}
	*out = rng;
	return 0;
}

void virtio_rng_destroy(struct virtio_rng *rng)
{
	if (rng == NULL)
		return;
	virtio_finish(&rng->virtio);
	free(rng);
}

struct virtio *virtio_rng_virtio(struct virtio_rng *rng)
{
	return &rng->virtio;
}
