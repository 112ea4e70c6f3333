/* The drivers there are. */
#ifndef GUEST_DEVICE_DRIVER_H
#define GUEST_DEVICE_DRIVER_H

#include "guest/device/virtio.h"

extern const struct virtio_driver block_driver;	  /* /dev/vda and on */
extern const struct virtio_driver console_driver; /* console.h */
extern const struct virtio_driver balloon_driver; /* balloon.h */

#endif
