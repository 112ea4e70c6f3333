/*
 * The calls upward. The rooms are layers, and each calls the rooms below it (README.md). Where a
 * room needs something of one above, its hooks.h declares the call, and the tables here name the
 * function.
 */
#include "guest/device/balloon.h"
#include "guest/device/virtio.h"
#include "guest/file/file.h"
#include "guest/file/node.h"
#include "guest/memory/hooks.h"
#include "guest/proc/proc.h"
#include "guest/process/hooks.h"
#include "guest/process/oom.h"
#include "guest/process/process.h"

const struct process_hooks process_hooks = {
	.copy_files = files_copy,
	.close_files = files_close,
	.forget = proc_forget,
	.release_files = files_release,
	.interrupts = virtio_interrupts,
};

const struct memory_hooks memory_hooks = {
	.hold = node_hold,
	.drop = node_drop,
	.may_have = process_may_have,
	.trim_stacks = thread_trim_stacks,
	.shrink_balloon = balloon_release,
	.kill = oom_kill,
	.out_of_memory = process_out_of_memory,
};
