"""Paging, beside the host kernel's own.

The rival is the same guest with its memory left to the host kernel (bifold run --unmanaged), in a
memory cgroup limited to the same budget, with zram (lz4) or a swap file as swap.
"""
import contextlib
import os
import re
import shutil
import signal
import statistics
import subprocess

from benchmarks.common import MIB, Failure, find, markdown, read, run, say, verdict, write

# The working set is twice the budget. What compresses does so four to one, so that all
# of it fits into the budget when compressed. The rival's cgroup, which counts the monitor's own
# memory, gets SLACK more for it.
BUDGET = 64 * MIB
WORKING_SET = 128 * MIB
MEMORY = 192 * MIB
SLACK = 8 * MIB


# The pairs to compare. In each: the rival's swap (None: neither side has a limit), the most that
# ours may take of the rival's time, the phase of the program `demo` that is compared, our options
# and demo's.
COMPRESSED = ["--budget", str(BUDGET), "--swap", "none"]
PAIRS = [
    (
        "zero fill, sequential first touch",
        None,
        1.0,
        "fill",
        [],
        ["--fill", "zero-touch", "--pattern", "sequential"],
    ),
    (
        "refault of compressed pages, sequential passes",
        "zram",
        0.25,
        "sequential",
        COMPRESSED,
        ["--fill", "quarter", "--pattern", "sequential", "--passes", "4"],
    ),
    (
        "the same, uniformly random",
        "zram",
        1.0,
        "random",
        COMPRESSED,
        ["--fill", "quarter", "--pattern", "random", "--count", "65536"],
    ),
    (
        "zipf(0.99) reads and writes, half the working set",
        "zram",
        0.8,
        "zipf",
        COMPRESSED,
        ["--fill", "quarter", "--pattern", "zipf", "--count", "131072", "--write-share", "50"],
    ),
    (
        "refault from disk, sequential",
        "file",
        0.5,
        "sequential",
        ["--budget", str(BUDGET), "--compressor", "none", "--swap", "{scratch}"],
        ["--fill", "random", "--pattern", "sequential", "--passes", "2"],
    ),
]


@contextlib.contextmanager
def memory_group():
    """A memory cgroup, of version 1 or 2: its folder and the file of its limit."""
    if os.path.exists("/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        folder = f"/sys/fs/cgroup/memory/bifold-bench-{os.getpid()}"
        limit = f"{folder}/memory.limit_in_bytes"
    elif os.path.exists("/sys/fs/cgroup/cgroup.subtree_control"):
        write("/sys/fs/cgroup/cgroup.subtree_control", "+memory")
        folder = f"/sys/fs/cgroup/bifold-bench-{os.getpid()}"
        limit = f"{folder}/memory.max"
    else:
        raise Failure("no memory cgroup on this host")
    os.mkdir(folder)
    try:
        yield folder, limit
    finally:
        os.rmdir(folder)


@contextlib.contextmanager
def zram(bench):
    if shutil.which("modprobe"):
        subprocess.run(["modprobe", "zram"], capture_output=True, check=False)
    if not os.path.exists("/dev/zram0"):
        raise Failure("no zram on this host")
    if int(read("/sys/block/zram0/disksize")) != 0:
        raise Failure("zram0 is in use")
    try:
        write("/sys/block/zram0/comp_algorithm", "lz4")
        write("/sys/block/zram0/disksize", str(4 * WORKING_SET))
        with swap_on("/dev/zram0"):
            yield
    finally:
        write("/sys/block/zram0/reset", "1")


@contextlib.contextmanager
def swap_file(bench):
    path = f"{bench.scratch}/swap"
    run(["dd", "if=/dev/zero", f"of={path}", "bs=1M", f"count={4 * WORKING_SET // MIB}"])
    os.chmod(path, 0o600)
    try:
        with swap_on(path):
            yield
    finally:
        os.unlink(path)


@contextlib.contextmanager
def swap_on(path):
    run(["mkswap", path])
    run(["swapon", "-p", "100", path])
    try:
        yield
    finally:
        run(["swapoff", path])


SWAPS = {"zram": zram, "file": swap_file}


def zram_peak():
    """The most memory zram0 has held since it was last asked; none elsewhere."""
    peak = int(read("/sys/block/zram0/mm_stat").split()[4])
    write("/sys/block/zram0/mem_used_max", "0")
    return peak


class Rival:
    """The host kernel's own way, in a group; counts how often the OOM killer ended it."""

    def __init__(self, bench, group):
        self.bench, self.group = bench, group
        self.kills, self.limit = 0, BUDGET + SLACK

    def command(self, demo):
        return [self.bench.bifold, "run", "--unmanaged", "--memory", str(MEMORY), "--", *demo]

    def enter(self):
        write(f"{self.group[0]}/cgroup.procs", str(os.getpid()))

    def __call__(self, demo, value):
        """The output of a run in which value was reached; it may have been killed after that."""
        if self.group is None:
            return run(self.command(demo))
        for attempt in range(1, 31):
            write(self.group[1], str(self.limit))
            done = subprocess.run(
                self.command(demo),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
                preexec_fn=self.enter,
            )
            if done.returncode not in (0, -signal.SIGKILL):
                raise Failure(f"the rival: exit status {done.returncode}\n{done.stderr}")
            self.kills += done.returncode != 0
            if re.search(value, done.stdout, re.M):
                return done.stdout
            # It cannot live in what it has.
            if attempt % 3 == 0:
                self.limit += 4 * MIB
        raise Failure("the rival was killed 30 times for lack of memory")


def measure_pair(bench, group, pair):
    title, swap, goal, phase, options, demo = pair
    options = [one.format(scratch=bench.scratch) for one in options]
    demo = [f"{bench.programs}/demo", "--touch", str(WORKING_SET), "--machine", "--bench", *demo]
    value = rf"^phase={phase} .*ns_per_page=(\d+)"
    rival = Rival(bench, group if swap else None)
    ours, theirs, served, zrams = [], [], [], []
    with SWAPS[swap](bench) if swap else contextlib.nullcontext():
        for _ in range(bench.rounds):
            output, report = bench.guest("--memory", str(MEMORY), *options, "--", *demo)
            ours.append(find(value, output))
            served.append(report["latency_ns"]["pool"]["p50"])
            theirs.append(find(value, rival(demo, value)))
            if swap == "zram":
                zrams.append(zram_peak())
    say(f"{title}: {statistics.median(ours):.0f} against {statistics.median(theirs):.0f} ns a page")
    return {
        "what": title,
        "goal": goal,
        "ours_ns": ours,
        "rival_ns": theirs,
        "ours_pool_p50_ns": served,
        "rival_killed": rival.kills,
        "rival_limit_bytes": rival.limit if swap else None,
        "rival_zram_bytes": zrams,
    }


def measure(bench):
    if os.geteuid() != 0:
        raise Failure("paging needs root, for the rival's cgroup and swap")
    with memory_group() as group:
        return [measure_pair(bench, group, pair) for pair in PAIRS]


def cells(row):
    ours, theirs = statistics.median(row["ours_ns"]), statistics.median(row["rival_ns"])
    service = statistics.median(row["ours_pool_p50_ns"])
    limit, zrams = row["rival_limit_bytes"], row["rival_zram_bytes"]
    memory = f"{limit / MIB:.0f} MiB" if limit else "no limit"
    if zrams:
        memory += f" and {statistics.median(zrams) / MIB:.0f} of zram"
    yield row["what"]
    yield f"{ours:.0f} ns"
    yield f"{theirs:.0f} ns"
    yield f"{ours / theirs:.2f}"
    yield f"at most {row['goal']}"
    yield verdict(ours / theirs, row["goal"])
    yield f"{service:.0f} ns" if service else "-"
    yield memory
    yield row["rival_killed"] or "-"


def table(rows):
    head = ["a page", "ours", "rival", "ratio", "goal", "", "p50 of our service from the pool"]
    head += ["the rival's memory", "killed"]
    return markdown(head, map(cells, rows))
