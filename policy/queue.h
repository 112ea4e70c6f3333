/*
 * Queues of frames for policies: doubly linked lists threaded through the policy's own per-frame
 * array, so a frame is found, moved and removed in constant time and eight bytes. A frame is on
 * one of two queues of the same array at most; `which` says on which. Zeroed links mean "on none".
 */
#ifndef POLICY_QUEUE_H
#define POLICY_QUEUE_H

#include <stdbool.h>
#include <stdint.h>

#define QUEUE_NONE	 0x3fffffffu
#define QUEUE_CREDIT_MAX 3

struct queue_link {
	uint32_t prev : 30;
	uint32_t on : 1;
	uint32_t which : 1;
	uint32_t next : 30;
	uint32_t credit : 2; /* the policy's own; no queue operation changes it */
};

struct queue {
	uint32_t head; /* oldest */
	uint32_t tail; /* youngest */
	uint32_t count;
	uint32_t which;
};

static inline void queue_init(struct queue *queue, unsigned which)
{
	*queue = (struct queue){ QUEUE_NONE, QUEUE_NONE, 0, which };
}

static inline bool queue_has(const struct queue *queue, const struct queue_link *links,
			     uint32_t frame)
{
	return links[frame].on && links[frame].which == queue->which;
}

static inline void queue_append(struct queue *queue, struct queue_link *links, uint32_t frame)
{
	links[frame] = (struct queue_link){ .prev = queue->tail & QUEUE_NONE,
					    .on = 1,
					    .which = queue->which & 1,
					    .next = QUEUE_NONE,
					    .credit = links[frame].credit };
	if (queue->tail != QUEUE_NONE)
		links[queue->tail].next = frame & QUEUE_NONE;
	else
		queue->head = frame;
	queue->tail = frame;
	queue->count++;
}

static inline void queue_remove(struct queue *queue, struct queue_link *links, uint32_t frame)
{
	struct queue_link link = links[frame];

	if (link.prev != QUEUE_NONE)
		links[link.prev].next = link.next;
	else
		queue->head = link.next;
	if (link.next != QUEUE_NONE)
		links[link.next].prev = link.prev;
	else
		queue->tail = link.prev;
	links[frame] = (struct queue_link){ .credit = link.credit };
	queue->count--;
}

/* The oldest frame, taken off; QUEUE_NONE when empty. */
static inline uint32_t queue_take(struct queue *queue, struct queue_link *links)
{
	uint32_t frame = queue->head;

	if (frame != QUEUE_NONE)
		queue_remove(queue, links, frame);
	return frame;
}

#endif
