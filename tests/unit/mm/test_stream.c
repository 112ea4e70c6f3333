/* Windows of fault-around and readahead, by themselves. */
#include <criterion/criterion.h>
#include <string.h>

#include "mm/stream.h"

#define FRAMES 10000u

static struct stream_table table;
static uint32_t first, count;

static void fault(uint32_t frame)
{
	stream_window(&table, frame, 64, 0, FRAMES, &first, &count);
	cr_assert(count >= 1 && count <= 64);
	cr_assert(frame == first || frame == first + count - 1);
	cr_assert_leq(first + count, FRAMES);
}

Test(stream, doubles_upwards)
{
	static const uint32_t windows[] = { 1, 8, 16, 32, 64, 64, 64 };
	uint32_t at = 100;

	for (size_t i = 0; i < sizeof(windows) / sizeof(windows[0]); i++) {
		fault(at);
		cr_assert_eq(first, at);
		cr_assert_eq(count, windows[i]);
		at += count;
	}
}

Test(stream, doubles_downwards)
{
	static const uint32_t windows[] = { 1, 8, 16, 32, 64, 64, 64 };
	uint32_t at = 9000;

	for (size_t i = 0; i < sizeof(windows) / sizeof(windows[0]); i++) {
		fault(at);
		cr_assert_eq(first + count - 1, at);
		cr_assert_eq(count, windows[i]);
		at -= count;
	}
}

Test(stream, ends_with_the_guest)
{
	for (uint32_t at = FRAMES - 20; at < FRAMES; at += count)
		fault(at);
	for (uint32_t at = 30;; at -= count) {
		fault(at);
		if (first == 0)
			break;
	}
}

Test(stream, a_cut_window_goes_on_unwidened)
{
	fault(100);
	fault(101); /* 8: to 108 */
	fault(105); /* only four were filled */
	cr_assert_eq(count, 8);
	fault(113);
	cr_assert_eq(count, 16);
}

Test(stream, frames_already_there_do_not_end_a_walk)
{
	fault(100);
	fault(101); /* to 108 */
	fault(114); /* 109 to 113 were resident */
	cr_assert_eq(count, 16);
}

Test(stream, sixteen_walks_side_by_side)
{
	uint32_t at[STREAM_COUNT];

	for (uint32_t i = 0; i < STREAM_COUNT; i++)
		at[i] = i * 600 + 50;
	for (int round = 0; round < 6; round++)
		for (uint32_t i = 0; i < STREAM_COUNT; i++) {
			fault(at[i]);
			cr_assert_eq(first, at[i]);
			at[i] += count;
		}
	cr_assert_eq(count, 64);
}

Test(stream, far_faults_bring_one)
{
	for (uint32_t i = 0; i < 100; i++) {
		fault(i * 6007 % FRAMES);
		cr_assert_eq(count, 1);
	}
}
