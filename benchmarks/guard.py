# SPDX-License-Identifier: MIT
"""Measure all guards, and compare with the stored baseline: `make bench` fails when one of them has become slower.

    python benchmarks/guard.py [--only NAME,...] [--store] [--baseline FILE] [--without-instructions]

A pass is `pytest benchmarks/guards` in a process of its own. What differs from the baseline by more than is allowed is measured
three times more, and only the median of these counts. Where the baseline knows nothing of this machine, five passes make one.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Collection, Sequence
from pathlib import Path

from guards import instructions
from guards.baseline import FILE, Baseline, Verdict, judge, judge_instructions, known_from, machine, table, toolchain
from guards.catalogue import GUARDS
from guards.paths import PATHS

TESTS = Path(__file__).parent / "guards" / "test_guards.py"
STORE_PASSES = 5
AGAIN_PASSES = 3
LIMIT_S = 900  # of a pass, on a machine that does much else
LEAST = {guard.name: guard.least for guard in GUARDS}
COMMAND = "python benchmarks/guard.py"

Found = dict[str, list[float]]


def one_pass(names: Sequence[str], *, shown: bool) -> dict[str, float]:
    """The ratio of each guard. Ends the program when a guard does not work."""
    with tempfile.TemporaryDirectory(prefix="fastgear-guards-") as folder:
        path = Path(folder, "pass.json")
        tests = [f"{TESTS}::test_guard[{name}]" for name in names]
        words = ["-q", "--benchmark-columns=min,median,iqr,rounds", f"--benchmark-json={path}"]
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *words, *tests],
            stdout=None if shown else subprocess.PIPE,
            stderr=None if shown else subprocess.STDOUT,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
        if done.returncode != 0:
            sys.exit(f"{done.stdout or ''}\nthe guards do not work, see above")
        benchmarks = json.loads(path.read_text())["benchmarks"]
    return {one["name"].partition("[")[2].rstrip("]"): one["extra_info"]["ratio"] for one in benchmarks}


def passes(names: Sequence[str], count: int, *, shown: bool = False) -> Found:
    found: Found = {name: [] for name in names}
    for number in range(count):
        for name, ratio in one_pass(names, shown=shown and number == 0).items():
            found[name].append(ratio)
    return found


def compare(baseline: Baseline, names: Sequence[str], found: Found) -> list[Verdict]:
    """What differs is measured again, and then judged by that alone."""
    known = baseline.ratios(machine())
    verdicts = judge(known, found, LEAST)
    differing = [one.name for one in verdicts if one.is_slower or one.is_faster]
    if differing:
        print(f"\n{', '.join(differing)}: not as before; {AGAIN_PASSES} times more", flush=True)
        again = {one.name: one for one in judge(known, passes(differing, AGAIN_PASSES), LEAST)}
        verdicts = [again.get(one.name, one) for one in verdicts]
    return verdicts


def count_instructions(names: Collection[str], asked: bool) -> dict[str, float]:
    """Empty where there is no valgrind, which is said."""
    if not asked:
        return {}
    if instructions.find() is None:
        print("\nvalgrind is not installed (Debian: apt-get install valgrind): instructions are not counted")
        return {}
    return instructions.count([path.name for path in PATHS if path.name in names])


def store(baseline: Baseline, found: Found, counted: dict[str, float]) -> None:
    known = {name: known_from(ratios) for name, ratios in found.items()}
    baseline.store_ratios(machine(), known)
    if counted:
        baseline.store_instructions(toolchain(), baseline.instructions(toolchain()) | counted)
    for name, one in known.items():
        print(f"  {name:<24} {one.ratio:12,.4f} ± {one.noise:.1%}")
    for name, number in counted.items():
        print(f"  {name:<28} {number:12,.1f} {'times' if name.endswith('memory') else 'instructions'}")


def conclude(verdicts: Sequence[Verdict], counted: Sequence[Verdict], path: Path) -> int:
    """Tables, and what to do; the exit code."""
    print(f"\ntime, as a multiple of its reference; this is {machine()}")
    print(table(verdicts, "allowed: the guard's own least, or four times what five passes differed by"))
    if counted:
        print(f"\ninstructions of fastgear's own code, and how often it asks for memory; {toolchain()}")
        print(table([one for one in counted if one.known or one.found], ""))
    both = [*verdicts, *counted]
    slower = sorted({one.name.partition(",")[0] for one in both if one.is_slower})
    moved = sorted({one.name.partition(",")[0] for one in both if one.is_faster or one.known is None} - set(slower))
    if moved:
        print(f"\nbetter than the baseline, or not in it: {', '.join(moved)}")
        print(f"    {COMMAND} --store --only {','.join(moved)}    lets {path.name} know")
    if slower:
        print(f"\nSLOWER than the baseline: {', '.join(slower)} (load of the machine: {os.getloadavg()[0]:.1f})")
        print(f"    {COMMAND} --only {','.join(slower)}    measures these again")
        print(f"    {COMMAND} --store --only {','.join(slower)}    if it is meant to be so")
    else:
        print("\nnothing has become slower")
    return 1 if slower else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", metavar="NAME,...", help=f"of {', '.join(LEAST)}")
    parser.add_argument("--store", action="store_true", help="let what is found be the baseline of this machine")
    parser.add_argument("--baseline", type=Path, default=FILE, metavar="FILE")
    parser.add_argument("--without-instructions", action="store_true")
    args = parser.parse_args()
    names = args.only.split(",") if args.only else list(LEAST)
    if unknown := set(names) - set(LEAST):
        parser.error(f"there is no guard {', '.join(sorted(unknown))}")
    baseline = Baseline(args.baseline)
    if args.store or not baseline.ratios(machine()):
        if not args.store:
            print(f"There is no baseline for {machine()},")
            print(
                f"only for: {'; '.join(baseline.machines()) or 'none'}. So nothing is compared: {STORE_PASSES} passes make one."
            )
        found = passes(names, STORE_PASSES, shown=True)
        print(f"\nbaseline of {machine()}")
        store(baseline, found, count_instructions(names, not args.without_instructions))
        print(
            f"\nstored in {args.baseline}. From now on `make bench` compares with it; commit it if others use this machine."
        )
        return 0
    found = passes(names, 1, shown=True)
    counted = count_instructions(names, not args.without_instructions)
    verdicts = compare(baseline, names, found)
    return conclude(verdicts, judge_instructions(baseline.instructions(toolchain()), counted), args.baseline)


if __name__ == "__main__":
    sys.exit(main())
