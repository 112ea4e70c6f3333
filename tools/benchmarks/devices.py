"""Disks, an idle guest and the balloon: quire on this host's KVM, stock Linux in the NPT lab."""
import json
import re
import statistics

from benchmarks.common import MIB, Failure, Script, can_run, find, markdown, run

READS = [("sequential", "1M", "16M"), ("random", "4K", "1M")]
BALLOON = "304M"
LOADS = {
    "swap": "--budget 80M --no-balloon",
    "balloon": "",
    "both": "--budget 80M --auto-balloon",
}
LOAD = (
    "/demo --touch 160M --passes 0 >/dev/null; sleep 3;"
    " /demo --touch 56M --passes 3 --pattern random"
)
RUN = "$bifold run --memory 384M --swap $scratch --report $scratch/report --control $socket"


def quire(script, options=""):
    files = "--file $programs/demo --file $programs/reads"
    return f"{RUN} {files} {options} -- /bin/busybox sh -c '{script}'"


def linux(script, options=""):
    kernel = "--kernel $linux/vmlinuz --initrd $linux/initrd"
    return f"{RUN} {kernel} --append 'console=ttyS0 quiet script=\"{script}\"' {options}"


def script_of(guest, rounds):
    """guest(SCRIPT, OPTIONS): the command that runs SCRIPT in a guest."""
    script = Script()
    script.text = "dd if=/dev/urandom of=$scratch/disk bs=1M count=32 2>/dev/null\n"
    for way, size, total in READS:
        for i in range(rounds):
            reads = f"/reads /dev/vda {way} {size} {total}"
            script.step(f"guest {way} {i}", guest(reads, "--disk $scratch/disk,ro"))
            script.step(f"host {way} {i}", f"$programs/reads $scratch/disk {way} {size} {total}")
    # What the whole process costs while its guest sleeps, and what it holds beside guest memory.
    script.text += f"""rm $scratch/disk
{guest("echo up; sleep 25")} </dev/null >$scratch/out 2>&1 &
monitor=$!
trap 'kill $monitor 2>/dev/null || true' EXIT
until grep -q up $scratch/out && [ -S $socket ]; do sleep 1; done
sleep 5
"""
    script.step("stat", "$bifold stat --json $socket")
    script.step("before", "cat /proc/$monitor/stat; sleep 10")
    script.step("after", "cat /proc/$monitor/stat; wait $monitor")
    ask = f"$bifold balloon --no-wait $socket {BALLOON} >/dev/null 2>&1"
    for name, options in LOADS.items():
        if name == "balloon":
            script.text += f"(until {ask}; do sleep 1; done) &\n"
        script.step(f"load {name}", guest(LOAD, options))
        script.step(f"report {name}", "cat $scratch/report")
    return script


def ticks(stat):
    """User and system time of /proc/PID/stat, in ticks of 10 ms."""
    return sum(int(one) for one in stat.rsplit(")", 1)[1].split()[11:13])


def load_result(sections, name):
    output, report = sections[f"load {name}"], json.loads(sections[f"report {name}"])
    if "every page read was right" not in output:
        raise Failure(f"load {name}:\n{output}")
    faults, evictions, releases = report["faults"], report["evictions"], report["releases"]
    return {
        "work_ms": sum(int(one) for one in re.findall(r"^ *random .* (\d+)$", output, re.M)),
        "refaults": faults["pool"] + faults["swap"],
        "read_bytes": faults["swap"] * 4096,
        "written_bytes": evictions["swapped"] * 4096,
        "released_bytes": (releases["balloon"] + releases["reported"]) * 4096,
        "peak_bytes": report["peak_host_bytes"],
    }


def column(sections, rounds):
    if sections is None:
        return None
    reads = {
        way: {
            side: [
                find(r"^reads: .*: (\d+) ns each", sections[f"{side} {way} {i}"])
                for i in range(rounds)
            ]
            for side in ("guest", "host")
        }
        for way, _, _ in READS
    }
    return {
        "reads_ns": reads,
        "idle_cpu_ms_in_10_s": 10 * (ticks(sections["after"]) - ticks(sections["before"])),
        "monitor_bytes": json.loads(sections["stat"])["monitor_bytes"],
        "loads": {name: load_result(sections, name) for name in LOADS},
    }


def measure_linux(bench):
    if not can_run("tools/linux-guest"):
        return None
    added = [f"{bench.programs}/demo", f"{bench.programs}/reads"]
    add = [word for program in added for word in ("--add", program)]
    run(["tools/linux-guest", "--strip", *add, f"{bench.build}/linux-guest"])
    lab = ["--memory", "1536", "--take", "linux-guest", "--timeout", "1500"]
    return column(script_of(linux, bench.rounds).lab(bench, "npt", *lab), bench.rounds)


def measure(bench):
    here = column(script_of(quire, bench.rounds).here(bench), bench.rounds)
    return {"quire": here, "linux": measure_linux(bench)}


def read_cells(columns):
    for way, size, _ in READS:
        for name, one in columns.items():
            sides = one["reads_ns"][way]
            guest, host = (statistics.median(sides[side]) / 1000 for side in ("guest", "host"))
            what = f"{way}, {size}iB each"
            yield what, name, f"{guest:.0f} us", f"{host:.0f} us", f"{guest / host:.1f}"


def idle_cells(columns):
    for name, one in columns.items():
        cpu, memory = one["idle_cpu_ms_in_10_s"] / 100, one["monitor_bytes"] / MIB
        yield name, f"{cpu:.1f} %", f"{memory:.1f} MiB"


def load_cells(columns):
    keys = ["read_bytes", "written_bytes", "released_bytes", "peak_bytes"]
    for name, one in columns.items():
        for way, load in one["loads"].items():
            sizes = [f"{load[key] / MIB:.1f} MiB" for key in keys]
            yield name, way, f"{load['work_ms']} ms", load["refaults"], *sizes


def table(result):
    columns = {name: one for name, one in result.items() if one is not None}
    yield from markdown(["a read", "guest", "in it", "on its host", "ratio"], read_cells(columns))
    yield ""
    head = ["guest of 384 MiB", "CPU of the whole process while it sleeps"]
    head += ["the monitor's own memory"]
    yield from markdown(head, idle_cells(columns))
    yield ""
    head = ["guest", "way", "the work", "pages brought back", "read from swap", "written to swap"]
    head += ["released by the guest", "peak"]
    yield from markdown(head, load_cells(columns))
