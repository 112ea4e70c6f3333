"""Quire's own paths, by its program `cost`, here and in both labs."""
from benchmarks.common import Script, find, markdown, verdict

# The argument of cost, what it does, the most instructions it may take. Those of a null call are
# taken off a switch.
PATHS = [
    ("null", "null system call", 60),
    ("switch", "context switch: a yield to another process, less a null call", 200),
    ("touch", "demand-zero fault", 250),
    ("upward", "sequential first touch, a page", None),
    ("fork", "fork, exit and wait", None),
]
FEW, MANY, TIMED = 1000, 3000, 10000


def times(sections, way):
    return sections and find(rf"{way}: {TIMED} times in (\d+) us", sections[way])


def instructions(bench, way):
    """Of one; None where KVM does not count."""
    few, many = (
        bench.guest("--", f"{bench.programs}/cost", way, str(count))[1]["kvm"].get("insn_emulation")
        for count in (FEW, MANY)
    )
    return None if few is None else (many - few) / (MANY - FEW)


def measure(bench):
    script = Script()
    for way, _, _ in PATHS:
        script.step(way, f"$bifold run --memory 256M -- $programs/cost {way} {TIMED}")
    places = {
        "here": script.here(bench),
        "npt": script.lab(bench, "npt"),
        "ept": script.lab(bench, "ept", "--timeout", "3600"),
    }
    return [
        {
            "way": way,
            "what": what,
            "goal": goal,
            "instructions": instructions(bench, way),
            "us": {place: times(sections, way) for place, sections in places.items()},
        }
        for way, what, goal in PATHS
    ]


def cells(row, null):
    count, goal = row["instructions"], row["goal"]
    if count is not None and row["way"] == "switch":
        count -= null
    yield row["what"]
    yield "not counted here" if count is None else f"{count:.1f}"
    yield f"at most {goal}" if goal else ""
    yield verdict(round(count), goal) if goal and count else ""
    for took in row["us"].values():
        yield "not run" if took is None else f"{took / 1000:.1f} ms"


def table(rows):
    null = next(row["instructions"] for row in rows if row["way"] == "null")
    head = ["path", "instructions", "goal", "", "10,000 here", "NPT lab", "EPT lab"]
    return markdown(head, (cells(row, null) for row in rows))
