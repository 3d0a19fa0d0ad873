# SPDX-License-Identifier: MIT
"""run.py [--seconds N] [TARGET ...]: fuzz for so long in all, one target after the other, and say what came of it.

What a target finds interesting is kept in build/fuzz-corpus, so that the next run goes on from there; what breaks something in
build/fuzz-found, with the command that plays it again. Exits with 1 where anything was found.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
CORPUS, FOUND = ROOT / "build" / "fuzz-corpus", ROOT / "build" / "fuzz-found"
# Shares of the time, and the most bytes of an input.
DRIVERS = {"play": (12, 800), "parse": (2, 300)}
DOORS = {"client": (2, 600), "worker": (1, 400), "packets": (1, 600), "texts": (1, 300), "config": (2, 400), "values": (1, 100),
         "records": (1, 300), "traffic": (1, 400)}  # fmt: skip
TARGETS = DRIVERS | DOORS


def environment(target: str) -> dict[str, str]:
    paths = (
        [ROOT / "build" / "drivers-fuzz", ROOT / "build" / "fuzz"] if target in DRIVERS else [ROOT / "build" / "debug"]
    )
    # libFuzzer's program is no Python that knows where its packages are.
    paths += [Path(path) for path in sys.path if path.endswith("-packages")]
    return os.environ | {
        "PYTHONPATH": os.pathsep.join(map(str, paths)),
        "FUZZ_DRIVER": f"_{target}_driver",
        "PYTHONMALLOC": "malloc" if target in DRIVERS else "default",
        "ASAN_OPTIONS": "detect_leaks=0",  # the drivers count what was allocated
    }


def command(target: str) -> list[str]:
    if target in DRIVERS:
        return [str(ROOT / "build" / "drivers-fuzz" / "fuzz")]
    return [sys.executable, str(HERE / "python.py"), target]


def fuzz(target: str, seconds: float) -> bool:
    """Whether nothing was found."""
    mine = CORPUS / target
    mine.mkdir(parents=True, exist_ok=True)
    FOUND.mkdir(parents=True, exist_ok=True)
    arguments = [
        f"-max_total_time={max(1, round(seconds))}", f"-max_len={TARGETS[target][1]}", "-timeout=25", "-rss_limit_mb=3000",
        "-print_final_stats=1", f"-dict={HERE / 'words.dict'}", f"-artifact_prefix={FOUND}/{target}-",
        str(mine), str(HERE / "corpus" / target),
    ]  # fmt: skip
    if (HERE / "crashes" / target).exists():
        arguments.append(str(HERE / "crashes" / target))
    started = time.monotonic()
    done = subprocess.run(
        command(target) + arguments,
        env=environment(target),
        cwd=ROOT,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    print(summary(target, done.stderr, time.monotonic() - started), flush=True)
    if done.returncode == 0:
        return True
    said = (done.stderr + done.stdout).splitlines()  # atheris tells of an exception on the latter
    print("\n".join(line for line in said if not re.match(r"#\d+\s|INFO:|\s+NEW_FUNC", line))[-6000:])
    if found := re.search(r"written to (\S+)", done.stderr):
        print(
            f"{target}: play it again with: {sys.executable} {Path(__file__).relative_to(ROOT)} {target} --play {found[1]}"
        )
    return False


def summary(target: str, said: str, seconds: float) -> str:
    runs = re.findall(r"Done (\d+) runs|number_of_executed_units:\s+(\d+)|^#(\d+)\s", said, re.MULTILINE)
    count = max((int(number) for found in runs for number in found if number), default=0)
    edges = re.findall(r" cov: (\d+) .*corp: (\d+)/", said)
    cover, kept = edges[-1] if edges else ("0", "0")
    speed = f"{count:9,} runs in {seconds:4.0f} s  {count / seconds:8,.0f}/s"
    return f"{target:8} {speed}  {int(cover):5,} edges  {int(kept):5,} inputs kept"


def play(target: str, files: list[str]) -> int:
    return subprocess.run([*command(target), *files], env=environment(target), cwd=ROOT, check=False).returncode


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(TARGETS))
    parser.add_argument("--seconds", type=float, default=600.0, help="in all; 600 where nothing is said")
    parser.add_argument("--play", nargs="+", metavar="FILE", help="no fuzzing: play these with one target")
    parser.add_argument(
        "--minimise", metavar="FILE", help="no fuzzing: the shortest input that still breaks that target"
    )
    args = parser.parse_args()
    targets = args.targets or list(TARGETS)
    if unknown := set(targets) - set(TARGETS):
        parser.error(f"no such target: {', '.join(unknown)}")
    if args.play:
        return play(targets[0], args.play)
    if args.minimise:
        return play(
            targets[0], ["-minimize_crash=1", "-runs=20000", f"-exact_artifact_path={args.minimise}.min", args.minimise]
        )
    if importlib.util.find_spec("atheris") is None:
        targets = [target for target in targets if target in DRIVERS]
        print("atheris is not there, nor a wheel of it for this Python: what is in Python is left out")
    shares = sum(TARGETS[target][0] for target in targets)
    well = [fuzz(target, args.seconds * TARGETS[target][0] / shares) for target in targets]
    return 0 if all(well) else 1


if __name__ == "__main__":
    sys.exit(main())
