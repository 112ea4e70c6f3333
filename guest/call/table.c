/*
 * The system call table: Linux's numbers for x86-64. An entry that is NULL here is unknown, and its
 * first use leaves a line of the log.
 */
#include "guest/call/call.h"
#include "guest/cpu/trap.h"
#include "guest/lib/errno.h"
#include "guest/monitor/doorbell.h"
#include "guest/process/process.h"

typedef int64_t (*call_function)(reg_t, reg_t, reg_t, reg_t, reg_t, reg_t);

/* Every call takes a prefix of the six argument registers. */
#define CALL(function) ((call_function)(void (*)(void))(function))

int64_t call_unknown(reg_t number);

static uint64_t seen[(CALL_COUNT + 63) / 64];

/* From entry.S for numbers beyond the table, and through the table for its gaps. */
int64_t call_unknown(reg_t number)
{
	if (number < CALL_COUNT) {
		if (seen[number / 64] >> number % 64 & 1)
			return -ENOSYS;
		seen[number / 64] |= 1ull << number % 64;
	}
	log_line(QUIRE_LEVEL_INFO, "%s: system call %lu is not there", current()->name, number);
	return -ENOSYS;
}

/* Calls that every C library tries and does without, so no line says that they are missing. */
static int64_t call_refused(void)
{
	return -ENOSYS;
}

static int64_t call_gap(void)
{
	return call_unknown(thread_frame(current())->vector);
}

extern const call_function call_table[CALL_COUNT];

#pragma GCC diagnostic ignored "-Woverride-init"
const call_function call_table[CALL_COUNT] = {
	[0 ... CALL_COUNT - 1] = CALL(call_gap),
	[0] = CALL(call_read),
	[1] = CALL(call_write),
	[2] = CALL(call_open),
	[3] = CALL(call_close),
	[4] = CALL(call_stat),
	[5] = CALL(call_fstat),
	[6] = CALL(call_lstat),
	[7] = CALL(call_poll),
	[8] = CALL(call_lseek),
	[9] = CALL(call_mmap),
	[10] = CALL(call_mprotect),
	[11] = CALL(call_munmap),
	[12] = CALL(call_brk),
	[13] = CALL(call_rt_sigaction),
	[14] = CALL(call_rt_sigprocmask),
	[15] = CALL(call_rt_sigreturn),
	[16] = CALL(call_ioctl),
	[17] = CALL(call_pread64),
	[18] = CALL(call_pwrite64),
	[19] = CALL(call_readv),
	[20] = CALL(call_writev),
	[21] = CALL(call_access),
	[22] = CALL(call_pipe),
	[23] = CALL(call_select),
	[24] = CALL(call_sched_yield),
	[25] = CALL(call_mremap),
	[26] = CALL(call_msync),
	[27] = CALL(call_mincore),
	[28] = CALL(call_madvise),
	[32] = CALL(call_dup),
	[33] = CALL(call_dup2),
	[34] = CALL(call_pause),
	[35] = CALL(call_nanosleep),
	[36] = CALL(call_getitimer),
	[37] = CALL(call_alarm),
	[38] = CALL(call_setitimer),
	[39] = CALL(call_getpid),
	[40] = CALL(call_sendfile),
	[56] = CALL(call_clone),
	[57] = CALL(call_fork),
	[58] = CALL(call_vfork),
	[59] = CALL(call_execve),
	[60] = CALL(call_exit),
	[61] = CALL(call_wait4),
	[62] = CALL(call_kill),
	[63] = CALL(call_uname),
	[72] = CALL(call_fcntl),
	[73] = CALL(call_flock),
	[74] = CALL(call_fsync),
	[75] = CALL(call_fsync),
	[76] = CALL(call_truncate),
	[77] = CALL(call_ftruncate),
	[79] = CALL(call_getcwd),
	[80] = CALL(call_chdir),
	[81] = CALL(call_fchdir),
	[82] = CALL(call_rename),
	[83] = CALL(call_mkdir),
	[84] = CALL(call_rmdir),
	[85] = CALL(call_creat),
	[86] = CALL(call_link),
	[87] = CALL(call_unlink),
	[88] = CALL(call_symlink),
	[89] = CALL(call_readlink),
	[90] = CALL(call_chmod),
	[91] = CALL(call_fchmod),
	[92] = CALL(call_chown),
	[93] = CALL(call_fchown),
	[94] = CALL(call_lchown),
	[95] = CALL(call_umask),
	[96] = CALL(call_gettimeofday),
	[97] = CALL(call_getrlimit),
	[98] = CALL(call_getrusage),
	[99] = CALL(call_sysinfo),
	[100] = CALL(call_times),
	[102] = CALL(call_getuid),
	[104] = CALL(call_getgid),
	[105] = CALL(call_setuid),
	[106] = CALL(call_setgid),
	[107] = CALL(call_geteuid),
	[108] = CALL(call_getegid),
	[109] = CALL(call_setpgid),
	[110] = CALL(call_getppid),
	[111] = CALL(call_getpgrp),
	[112] = CALL(call_setsid),
	[113] = CALL(call_setreuid),
	[114] = CALL(call_setregid),
	[115] = CALL(call_getgroups),
	[116] = CALL(call_setgroups),
	[117] = CALL(call_setresuid),
	[118] = CALL(call_getresuid),
	[119] = CALL(call_setresgid),
	[120] = CALL(call_getresgid),
	[121] = CALL(call_getpgid),
	[124] = CALL(call_getsid),
	[127] = CALL(call_rt_sigpending),
	[128] = CALL(call_rt_sigtimedwait),
	[129] = CALL(call_rt_sigqueueinfo),
	[130] = CALL(call_rt_sigsuspend),
	[131] = CALL(call_sigaltstack),
	[135] = CALL(call_personality),
	[137] = CALL(call_statfs),
	[138] = CALL(call_fstatfs),
	[149] = CALL(call_mlock),
	[150] = CALL(call_munlock),
	[154] = CALL(call_modify_ldt),
	[157] = CALL(call_prctl),
	[158] = CALL(call_arch_prctl),
	[160] = CALL(call_setrlimit),
	[162] = CALL(call_zero), /* sync */
	[186] = CALL(call_gettid),
	[200] = CALL(call_tkill),
	[201] = CALL(call_time),
	[202] = CALL(call_futex),
	[203] = CALL(call_sched_setaffinity),
	[204] = CALL(call_sched_getaffinity),
	[217] = CALL(call_getdents64),
	[218] = CALL(call_set_tid_address),
	[221] = CALL(call_fadvise64),
	[228] = CALL(call_clock_gettime),
	[229] = CALL(call_clock_getres),
	[230] = CALL(call_clock_nanosleep),
	[231] = CALL(call_exit_group),
	[234] = CALL(call_tgkill),
	[247] = CALL(call_waitid),
	[257] = CALL(call_openat),
	[258] = CALL(call_mkdirat),
	[260] = CALL(call_fchownat),
	[262] = CALL(call_newfstatat),
	[263] = CALL(call_unlinkat),
	[264] = CALL(call_renameat),
	[265] = CALL(call_linkat),
	[266] = CALL(call_symlinkat),
	[267] = CALL(call_readlinkat),
	[268] = CALL(call_fchmodat),
	[269] = CALL(call_faccessat),
	[270] = CALL(call_pselect6),
	[271] = CALL(call_ppoll),
	[273] = CALL(call_set_robust_list),
	[280] = CALL(call_utimensat),
	[285] = CALL(call_fallocate),
	[292] = CALL(call_dup3),
	[293] = CALL(call_pipe2),
	[302] = CALL(call_prlimit64),
	[309] = CALL(call_getcpu),
	[316] = CALL(call_renameat2),
	[318] = CALL(call_getrandom),
	[319] = CALL(call_memfd_create),
	[332] = CALL(call_statx),
	[334] = CALL(call_refused), /* rseq */
	[435] = CALL(call_clone3),
	[439] = CALL(call_faccessat2),
};
