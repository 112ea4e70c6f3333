"""The monitor's own memory, and its start."""
import statistics

from benchmarks.common import KIB, MIB, markdown, verdict
from benchmarks.paging import BUDGET, MEMORY, WORKING_SET


def measure(bench):
    output, report = bench.guest(
        "--memory",
        str(MEMORY),
        "--budget",
        str(BUDGET),
        "--",
        f"{bench.programs}/demo",
        "--touch",
        str(WORKING_SET),
        "--machine",
    )
    starts = [
        bench.guest("--budget", str(BUDGET), "--", "/bin/busybox", "true")[1]
        for _ in range(bench.rounds)
    ]
    return {
        "monitor_bytes": report["monitor_bytes"],
        "frames": MEMORY // 4096,
        "start_to_user_ns": [one["start_to_user_ns"] for one in starts],
        "start_to_user_cpu_ns": [one["start_to_user_cpu_ns"] for one in starts],
    }


def table(result):
    wall = statistics.median(result["start_to_user_ns"]) / 1e6
    cpu = statistics.median(result["start_to_user_cpu_ns"]) / 1e6
    own, most = result["monitor_bytes"] / KIB, (6 * MIB + 16 * result["frames"]) / KIB
    rows = [
        ("its own memory, guest memory and pool aside", own, most, "KiB"),
        ("start to the first user instruction", wall, 100, "ms"),
        ("of it, CPU time", cpu, 10, "ms"),
    ]
    cells = (
        (what, f"{value:.1f} {unit}", f"at most {goal:.0f} {unit}", verdict(value, goal))
        for what, value, goal, unit in rows
    )
    return markdown(["the monitor", "", "goal", ""], cells)
