# SPDX-License-Identifier: MIT
"""The numbers that fastgear is to reach, each beside what it is measured against, and whether it is met: one table.

    python benchmarks/targets.py [--only WORD,...] [--rounds 9] [--quick] [--save FILE.json] [--page FILE.md]
    python benchmarks/targets.py --load FILE.json [FILE.json ...] [--save FILE.json] [--page FILE.md]

Every figure comes from another program of this folder, which is run for one short round at a time; the table names it. In a round
fastgear and its peer run one after the other, in the next one the other way round. What is shown last is the median of the rounds'
ratios, or of fastgear's figures where the number to reach is not a ratio, with the least and the most.

Ctrl-C ends it with a table of what there is. Files of several runs, each of some rows, are put together by --load: of each row the
last one counts.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

from aims.figures import Found, abouts, from_saved, merged, ratios, spread, summary, targets_table, to_save
from aims.rows import Program, Row, Saved, read, rows, why_not
from peers.servers import gearmand_version
from peers.tables import replace_parts

from fastgear.version import VERSION

HERE = Path(__file__).parent
GUESS_S = 8.0  # for a program's round, before anything is known
LIMIT_S = 300
END_S = 10
INTERRUPTED = 130
QUICK = "quick, with small loads: the figures say nothing; "


def about(quick: bool) -> str:
    """What is measured, and where."""
    versions = [f"fastgear {VERSION}", f"Python {platform.python_version()}", gearmand_version() or "no gearmand"]
    busy = " ".join(f"{value:.1f}" for value in os.getloadavg())
    system = f"Linux {'.'.join(platform.release().split('.')[:2])}, {platform.machine()}, {os.cpu_count()} CPUs"
    today = f"{datetime.now(timezone.utc):%Y-%m-%d}"
    return f"{QUICK if quick else ''}{today}: {', '.join(versions)}; {system}, load average {busy} before"


# -- a program, for one round


def run(program: Program, turn: int, folder: Path) -> tuple[Saved, str]:
    """What it has saved, if it has come to that, and what it has said on stderr."""
    file = folder / "saved.json"
    file.unlink(missing_ok=True)
    name, *words = program.command(turn)
    command = [sys.executable, str(HERE / name), *words, "--rounds", "1", "--save", str(file)]
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            said = process.communicate(timeout=LIMIT_S)[1]
        except subprocess.TimeoutExpired:
            end(process)
            return {}, f"more than {LIMIT_S} s"
        except BaseException:
            end(process)
            raise
    return (json.loads(file.read_text()) if process.returncode == 0 and file.exists() else {}), said


def end(process: subprocess.Popen[str]) -> None:
    """As Ctrl-C does, so that it ends what it has started itself."""
    process.send_signal(signal.SIGINT)
    try:
        process.communicate(timeout=END_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)


def add(row: Row, found: Found, saved: Saved, said: str) -> None:
    """A round's figures, or why there are none."""
    ours, theirs = read(row.ours, saved), read(row.theirs, saved)
    if ours is not None:
        found.pairs.append((ours, theirs))
    if ours is None or theirs is None:
        found.missing = why_not(row.ours if ours is None else row.theirs, saved, said)


# -- all of them


class Progress:
    """Steps done, and how long the others will take: each as long as it did before, or as others did."""

    def __init__(self, steps: Sequence[tuple[int, Program]]) -> None:
        self._left = [program for _, program in steps]
        self._total = len(steps)
        self._took: dict[Program, float] = {}

    @property
    def left_s(self) -> float:
        guess = sum(self._took.values()) / len(self._took) if self._took else GUESS_S
        return sum(self._took.get(program, guess) for program in self._left)

    def done(self, took_s: float, words: str) -> None:
        self._took[self._left.pop(0)] = took_s
        left = f"about {self.left_s / 60:.0f} min left" if self._left else "done"
        print(f"[{self._total - len(self._left)}/{self._total}] {words}; {left}", file=sys.stderr, flush=True)


def last_round(row: Row, found: Found) -> str:
    values = ratios(row, found)
    after = " x" if row.is_ratio else f" {row.unit}"
    return f"{row.title}: {spread(values[-1:], after) if values else found.missing}"


def steps_of(chosen: Sequence[Row], rounds: int) -> list[tuple[int, Program]]:
    """Round by round, so that what disturbs for a minute disturbs no row's rounds all together."""
    programs = dict.fromkeys(row.program for row in chosen)
    return [(turn, program) for turn in range(rounds) for program in programs if turn < program.most_rounds]


def measure(chosen: Sequence[Row], args: argparse.Namespace) -> tuple[dict[str, Found], bool]:
    """By title; and whether it was interrupted. Saved after each step."""
    kept = {row.title: Found(about=about(args.quick)) for row in chosen}
    steps = steps_of(chosen, args.rounds or (1 if args.quick else 9))
    progress = Progress(steps)
    try:
        with tempfile.TemporaryDirectory(prefix="fastgear-targets-") as folder:
            for turn, program in steps:
                begun = time.monotonic()
                saved, said = run(program, turn, Path(folder))
                measured = [row for row in chosen if row.program == program]
                for row in measured:
                    add(row, kept[row.title], saved, said)
                words = ", ".join(last_round(row, kept[row.title]) for row in measured)
                progress.done(time.monotonic() - begun, words)
                save(kept, args.save)
    except KeyboardInterrupt:
        return kept, True
    return kept, False


# -- the command


def save(kept: dict[str, Found], path: str | None) -> None:
    if path:
        Path(path).write_text(json.dumps(to_save(kept), indent=1))


def choose(every: Sequence[Row], words: str) -> list[Row]:
    """Raises SystemExit for a word that no title has in it."""
    wanted = [word.strip().lower() for word in words.split(",")]
    for word in wanted:
        if not any(word in row.title.lower() for row in every):
            titles = "\n  ".join(row.title for row in every)
            sys.exit(f"no row has {word!r} in its title; there are\n  {titles}")
    return [row for row in every if any(word in row.title.lower() for word in wanted)]


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--only", default="", metavar="WORD,...", help="rows that have one of those in their title")
    add("--rounds", type=int, help="default: 9; fewer of what takes half a minute")
    add("--quick", action="store_true", help="one round of small loads, to see that it works")
    add("--save", metavar="FILE.json", help="all figures, after each step")
    add("--load", metavar="FILE.json", nargs="+", help="show those, and measure nothing")
    add("--page", metavar="FILE.md", help="put the table between <!-- targets --> and <!-- end -->")
    args = parser.parse_args()
    if args.page and (args.quick or args.only):
        parser.error("a page takes all rows, in full; files with some of them are put together by --load")
    return args


def main() -> int:
    for number in (signal.SIGINT, signal.SIGTERM):  # also where a shell has it ignored
        signal.signal(number, signal.default_int_handler)
    args = parsed()
    chosen, interrupted = choose(rows(args.quick), args.only), False
    if args.load:
        kept = merged([from_saved(json.loads(Path(path).read_text())) for path in args.load])
    else:
        kept, interrupted = measure(chosen, args)
    save(kept, args.save)
    shown = {row.title: kept[row.title] for row in chosen if row.title in kept}
    said = "\n\n".join([*abouts(shown), summary(chosen, shown), targets_table(chosen, shown)])
    print(said)
    if interrupted:
        print("interrupted: these are the rounds until then, and no page is changed", file=sys.stderr)
        return INTERRUPTED
    if args.page:
        page = Path(args.page)
        page.write_text(replace_parts(page.read_text(), {"targets": said}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
