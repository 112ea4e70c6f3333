/* The entropy source; see fuzz_device.h. */
#include "base/check.h"
#include "devices/virtio/rng.h"
#include "fuzz_device.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct virtio_rng *rng;

static void open_rng(struct fuzz_device *device)
{
	CHECK(virtio_rng_create(device->space, device->loop, &rng) == 0);
	device->virtio = virtio_rng_virtio(rng);
}

static void close_rng(struct fuzz_device *device)
{
	virtio_rng_destroy(rng);
}

static const struct fuzz_device_ops ops = { .open = open_rng, .close = close_rng };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	return fuzz_device_run(&ops, data, size);
}
