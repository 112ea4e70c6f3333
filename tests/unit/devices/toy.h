/*
 * A virtio device that echoes what it can read into what it can write, and the driver that tests
 * it: the core's tests are made of these.
 */
#ifndef TESTS_UNIT_DEVICES_TOY_H
#define TESTS_UNIT_DEVICES_TOY_H

#include "driver.h"

#define F_TOY (1ull << 5)

struct toy {
	struct virtio virtio;
	uint8_t config[6];
	unsigned served, starts, stops, resets, configured;
	unsigned stopped; /* the queue that was stopped last */
	bool hold;	  /* leave chains where they are */
};

extern struct driver driver;
extern struct toy toy;

/* With memory of bytes; 0: DRIVER_MEMORY. */
void toy_open(uint64_t bytes);
void toy_close(void);

/* 6 bytes to be read, 3 and 100 to be written. */
extern const struct driver_segment echo_segments[3];

/* One chain there and back, and all is as it should be. */
void echo(unsigned queue);
/* The chain that expected is the head of is back, with "abcdef" from DRIVER_DATA. */
void expect_echo(unsigned queue, uint16_t expected);
/* The device is broken, says so to the driver, and works again after a reset. */
void expect_broken_then_reset(const char *what);

/* Where queue 0 is; anything. */
struct setting {
	const char *what;
	uint32_t size;
	uint64_t descriptors, available, used;
};

void set_up(const struct setting *setting);

#endif
