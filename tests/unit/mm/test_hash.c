/*
 * Tests the decisions that rest on hashes, against contents made to have the same one: unkeyed XXH3
 * multiplies the halves of each word, so two words that add up to the same in two ways make a pair,
 * and anybody can make it.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "mm/mm_internal.h"
#include "tests/unit/mm/fake.h"
#include "policy/table.h"

#define WORDS	 (PAGE_SIZE / sizeof(uint64_t))
#define SECRET_0 0xbe4ba423396cfeb8ull /* XXH3's own secret, which is public: words 0 and 1 */
#define SECRET_1 0x1cad21f72c81017cull

static struct fake fake;
static uint64_t older[WORDS], newer[WORDS], got[WORDS];
static int random_error; /* errno of getrandom(); 0: the real one */
static unsigned random_calls;

ssize_t __real_getrandom(void *buffer, size_t length, unsigned flags);
ssize_t __wrap_getrandom(void *buffer, size_t length, unsigned flags);

/* In small pieces, and interrupted: both are allowed to it. */
ssize_t __wrap_getrandom(void *buffer, size_t length, unsigned flags)
{
	if (random_calls++ % 2 == 0 || random_error != 0) {
		errno = random_error != 0 ? random_error : EINTR;
		return -1;
	}
	return __real_getrandom(buffer, length < 16 ? length : 16, flags);
}

static void make_pair(void)
{
	uint64_t rng = 1234567;

	for (size_t i = 0; i < WORDS; i++)
		older[i] = rng_next(&rng);
	older[0] = (uint32_t)SECRET_0 | 100ull << 32;
	older[8] = (uint32_t)SECRET_1 | 5000ull << 32;
	memcpy(newer, older, sizeof(newer));
	newer[0] = (uint32_t)SECRET_0 | 107ull << 32;
	newer[8] = (uint32_t)SECRET_1 | 4993ull << 32;
	cr_assert(XXH128_isEqual(XXH3_128bits(older, PAGE_SIZE), XXH3_128bits(newer, PAGE_SIZE)),
		  "the pair is not one: this test would prove nothing");
}

static void copy_in(void *page, void *content)
{
	memcpy(page, content, PAGE_SIZE);
}

static void copy_out(void *page, void *content)
{
	memcpy(content, page, PAGE_SIZE);
}

static struct mm_config prepare(void)
{
	struct mm_config config;

	swap_memory_reset();
	fake_init(&fake, 100);
	config = fake_config(&fake);
	config.policy = mm_policy_find("fifo");
	config.swap_directory = "memory";
	return config;
}

/* Evicted, brought back with its slot kept, and written before it goes again. */
Test(hash, a_made_collision_does_not_pass_for_unchanged)
{
	struct mm_config config = prepare();

	make_pair();
	fake_create(&fake, &config);
	fake_access(&fake, 7, true, copy_in, older);
	cr_assert_eq(mm_reclaim(fake.mm, 1), 1);
	fake_access(&fake, 7, false, copy_out, got);
	cr_assert_neq(fake.mm->frames[7].where, FRAME_NOWHERE, "the slot is kept");
	fake_access(&fake, 7, true, copy_in, newer);
	cr_assert_eq(mm_reclaim(fake.mm, 1), 1);
	fake_access(&fake, 7, false, copy_out, got);
	cr_assert_eq(memcmp(got, newer, PAGE_SIZE), 0, "the guest's write is lost");
	fake_end(&fake);
}

Test(hash, a_made_collision_in_the_swap_file_is_found)
{
	struct mm_config config = prepare();

	make_pair();
	fake.expect_failure = true;
	fake_create(&fake, &config);
	fake_access(&fake, 7, true, copy_in, older);
	cr_assert_eq(mm_reclaim(fake.mm, 1), 1);
	memcpy(swap_memory.bytes + fake.mm->frames[7].where * PAGE_SIZE, newer, PAGE_SIZE);
	cr_assert_eq(mm_fault(fake.mm, gfn(7), false), -EBADMSG);
	fake_end(&fake);
}

/* The same object in two machines: the checksums differ, as their secrets do. */
Test(hash, each_machine_has_a_key_of_its_own)
{
	struct pool_object objects[2];
	unsigned char data[2][POOL_OBJECT_MAX];

	for (int i = 0; i < 2; i++) {
		struct mm_config config = prepare();

		fake_create(&fake, &config);
		cr_assert_eq(fake_put(&fake, 7, CONTENT_HALF, 1), 0);
		cr_assert_eq(mm_reclaim(fake.mm, 1), 1);
		cr_assert_eq(fake.mm->frames[7].state, FRAME_COMPRESSED);
		pool_load(fake.mm->pool, fake.mm->frames[7].where, &objects[i], data[i]);
		fake_end(&fake);
	}
	cr_assert_eq(objects[0].length, objects[1].length);
	cr_assert_eq(memcmp(data[0], data[1], objects[0].length), 0);
	cr_assert_neq(objects[0].checksum, objects[1].checksum);
}

Test(hash, every_byte_of_the_key_is_random)
{
	struct hash_key a, b;
	unsigned equal = 0;

	cr_assert_eq(hash_key_make(&a), 0);
	cr_assert_eq(hash_key_make(&b), 0);
	for (size_t i = 0; i < HASH_KEY_BYTES; i++)
		equal += a.secret[i] == b.secret[i];
	cr_assert_lt(equal, 16, "%u bytes agree", equal);
}

Test(hash, a_host_without_random_bytes)
{
	struct mm_config config = prepare();

	random_error = ENOSYS;
	cr_assert_eq(mm_create(&config, &fake.mm), -ENOSYS);
	fake_finish(&fake);
}
