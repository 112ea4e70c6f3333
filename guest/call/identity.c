/* System calls on users and groups. */
#include "guest/call/call.h"
#include "guest/lib/errno.h"
#include "guest/memory/user.h"
#include "guest/process/process.h"

#define AS_IT_IS UINT32_MAX

static struct identity *own(void)
{
	return &current_process()->identity;
}

int64_t call_getuid(void)
{
	return own()->user[ID_REAL];
}

int64_t call_getgid(void)
{
	return own()->group[ID_REAL];
}

int64_t call_geteuid(void)
{
	return own()->user[ID_EFFECTIVE];
}

int64_t call_getegid(void)
{
	return own()->group[ID_EFFECTIVE];
}

static bool has(const uint32_t *ids, uint32_t id)
{
	return id == AS_IT_IS || id == ids[ID_REAL] || id == ids[ID_EFFECTIVE] ||
	       id == ids[ID_SAVED];
}

/* setuid, setgid: user 0 becomes another for good. */
static int64_t set_one(uint32_t *ids, uint32_t id)
{
	if (id == AS_IT_IS)
		return -EINVAL;
	if (identity_is_root())
		ids[ID_REAL] = ids[ID_SAVED] = id;
	else if (id != ids[ID_REAL] && id != ids[ID_SAVED])
		return -EPERM;
	ids[ID_EFFECTIVE] = id;
	return 0;
}

static int64_t set_three(uint32_t *ids, uint32_t real, uint32_t effective, uint32_t saved)
{
	if (!identity_is_root() && (!has(ids, real) || !has(ids, effective) || !has(ids, saved)))
		return -EPERM;
	ids[ID_REAL] = real == AS_IT_IS ? ids[ID_REAL] : real;
	ids[ID_EFFECTIVE] = effective == AS_IT_IS ? ids[ID_EFFECTIVE] : effective;
	ids[ID_SAVED] = saved == AS_IT_IS ? ids[ID_SAVED] : saved;
	return 0;
}

static int64_t set_two(uint32_t *ids, uint32_t real, uint32_t effective)
{
	bool saves = real != AS_IT_IS || (effective != AS_IT_IS && effective != ids[ID_REAL]);

	if (!identity_is_root() &&
	    ((real != AS_IT_IS && real != ids[ID_REAL] && real != ids[ID_EFFECTIVE]) ||
	     !has(ids, effective)))
		return -EPERM;
	ids[ID_REAL] = real == AS_IT_IS ? ids[ID_REAL] : real;
	ids[ID_EFFECTIVE] = effective == AS_IT_IS ? ids[ID_EFFECTIVE] : effective;
	if (saves)
		ids[ID_SAVED] = ids[ID_EFFECTIVE];
	return 0;
}

static int64_t get_three(const uint32_t *ids, const reg_t *addresses)
{
	for (unsigned i = 0; i < ID_COUNT; i++) {
		if (user_write(addresses[i], &ids[i], sizeof(ids[i])))
			return -EFAULT;
	}
	return 0;
}

int64_t call_setuid(reg_t id)
{
	return set_one(own()->user, id);
}

int64_t call_setgid(reg_t id)
{
	return set_one(own()->group, id);
}

int64_t call_setreuid(reg_t real, reg_t effective)
{
	return set_two(own()->user, real, effective);
}

int64_t call_setregid(reg_t real, reg_t effective)
{
	return set_two(own()->group, real, effective);
}

int64_t call_setresuid(reg_t real, reg_t effective, reg_t saved)
{
	return set_three(own()->user, real, effective, saved);
}

int64_t call_setresgid(reg_t real, reg_t effective, reg_t saved)
{
	return set_three(own()->group, real, effective, saved);
}

int64_t call_getresuid(reg_t real, reg_t effective, reg_t saved)
{
	return get_three(own()->user, (const reg_t[]){ real, effective, saved });
}

int64_t call_getresgid(reg_t real, reg_t effective, reg_t saved)
{
	return get_three(own()->group, (const reg_t[]){ real, effective, saved });
}

int64_t call_getgroups(reg_t size, reg_t list)
{
	const struct identity *identity = own();

	if ((int)size < 0 || ((int)size > 0 && (unsigned)(int)size < identity->group_count))
		return -EINVAL;
	if ((int)size > 0 &&
	    user_write(list, identity->groups, identity->group_count * sizeof(uint32_t)))
		return -EFAULT;
	return identity->group_count;
}

int64_t call_setgroups(reg_t size, reg_t list)
{
	uint32_t groups[GROUPS_MAX];

	if (!identity_is_root())
		return -EPERM;
	if ((uint32_t)size > GROUPS_MAX)
		return -EINVAL;
	if (user_read(groups, list, (uint32_t)size * sizeof(uint32_t)))
		return -EFAULT;
	for (unsigned i = 0; i < (uint32_t)size; i++)
		own()->groups[i] = groups[i];
	own()->group_count = (uint32_t)size;
	return 0;
}
