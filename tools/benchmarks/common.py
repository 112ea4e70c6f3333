"""What the benchmarks share: runs of commands and guests, scripts for the labs, tables."""
import datetime
import json
import os
import re
import shlex
import subprocess
import sys

KIB, MIB = 1 << 10, 1 << 20


class Failure(Exception):
    """What cannot be measured, and why."""


def say(text):
    print("bench: " + text, file=sys.stderr, flush=True)


def run(command, **options):
    """Runs a command; its standard output."""
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, **options
    )
    if done.returncode != 0:
        raise Failure(f"{shlex.join(command)}: exit status {done.returncode}\n{done.stderr}")
    return done.stdout


def write(path, text):
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def find(pattern, text):
    """The last match of the pattern's group, as a number."""
    found = re.findall(pattern, text, re.M)
    if not found:
        raise Failure(f"no '{pattern}' in:\n{text}")
    return int(found[-1])


def commit():
    """What is measured; what is written by a measurement does not make it another."""
    written = [":!docs/results", ":!docs/benchmarks.md", ":!README.md"]
    changes = run(["git", "status", "--porcelain", "--", ".", *written])
    return run(["git", "rev-parse", "--short", "HEAD"]).strip() + ("-dirty" if changes else "")


class Bench:
    """One run of this program: what it measures, where, and its scratch folder."""

    def __init__(self, build, rounds, scratch):
        self.build, self.rounds, self.scratch = build, rounds, scratch
        self.bifold = f"{build}/vmm/bifold"
        self.programs = f"{build}/guest/programs"
        self.report_path = f"{scratch}/report.json"
        if not os.access(self.bifold, os.X_OK):
            raise Failure(f"{self.bifold} is not built: meson setup {build} && ninja -C {build}")

    def guest(self, *arguments):
        """bifold run ARGUMENTS: the guest's output and the report."""
        output = run([self.bifold, "run", "--report", self.report_path, *arguments])
        return output, json.loads(read(self.report_path))

    def host(self):
        processor = re.search(r"^model name\s*: (.*)$", read("/proc/cpuinfo"), re.M)
        options = json.loads(read(f"{self.build}/meson-info/intro-buildoptions.json"))
        report = self.guest("-q", "--", "/bin/busybox", "true")[1]
        return {
            "measured": datetime.date.today().isoformat(),
            "commit": commit(),
            "build": next(one["value"] for one in options if one["name"] == "buildtype"),
            "kernel": os.uname().release,
            "cpus": os.cpu_count(),
            "processor": processor.group(1) if processor else "unknown",
            "second_layer": report["second_layer"],
            "rounds": self.rounds,
        }


def verdict(value, goal):
    return "met" if value <= goal else "missed"


def markdown(head, rows):
    """The lines of a table: names of columns, and the cells of each row."""
    for cells in [head, ["---"] * len(head), *rows]:
        yield "| " + " | ".join(str(cell) for cell in cells) + " |"


def can_run(tool, *arguments):
    """Whether tools/lab or tools/linux-guest can run here; says why not."""
    command = [tool, *arguments, "--can-run"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        say(f"not measured: {done.stdout.strip()}")
    return done.returncode == 0


class Script:
    """Steps for sh, each with a name under which its output comes back, the same here and in a lab.
    They may use $bifold, $programs, $linux (a folder of tools/linux-guest), $scratch and $socket.
    """

    def __init__(self):
        self.text = ""

    def step(self, name, commands):
        self.text += f"echo '@@ {name}'\n{commands}\n"

    def whole(self, build, scratch):
        return f"""set -eu
bifold={build}/vmm/bifold programs={build}/guest/programs linux={build}/linux-guest
scratch={scratch} socket={scratch}/socket
{self.text}"""

    @staticmethod
    def sections(output):
        parts = re.split(r"^@@ (.*)\n", output.replace("\r\n", "\n"), flags=re.M)
        return dict(zip(parts[1::2], parts[2::2]))

    def here(self, bench):
        return self.sections(run(["sh", "-c", self.whole(bench.build, bench.scratch)]))

    def lab(self, bench, kind, *options):
        """None where the lab cannot run."""
        if not can_run("tools/lab", kind):
            return None
        path = f"{bench.scratch}/script"
        write(path, self.whole("/build", "/tmp"))
        take = ["--take", "vmm/bifold", "--take", "guest/programs", "--add", f"{path}:/script"]
        lab = ["tools/lab", kind, "--build", bench.build, *take, *options]
        return self.sections(run([*lab, "--", "sh", "/script"]))
