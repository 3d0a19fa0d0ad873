# SPDX-License-Identifier: MIT
"""``fastgear bench``: a load on a server, and what was measured."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys

from fastgear.addresses import Address
from fastgear.bench.bench import Outcome, ServerUse, bench
from fastgear.bench.plan import KINDS, PRIORITIES, REQUESTS, Plan
from fastgear.cli.common import FAILED, INTERRUPTED, OK, CommandError, add_json, add_server, note, servers
from fastgear.errors import ConfigError, RemoteProtocolError

EXAMPLES = """\
examples:
  fastgear bench                                   8 clients and 8 workers, one job each at a time, for 5 s
  fastgear bench --pipeline 32 --grabs 32 -n 1M    32 of each under way, a million jobs
  fastgear bench background -w 0 -n 1M --uniques all --pipeline 100    fill a queue: time and memory for each job
  fastgear bench drain -n 1M --grabs 64            empty one
  fastgear bench echo -c 4 --pipeline 100          no jobs: the wire alone
  fastgear bench --rate 20k -t 10                  an open loop: 20,000 jobs a second, come what may
  fastgear bench -c 1 -w 1 --sleepers 500          500 more workers that sleep
  fastgear bench mixed --mix foreground=5,background=3,echo=1 --priorities high=1,normal=8,low=1

kinds:
  foreground  from submission to result          background  to acknowledgement; workers take the jobs meanwhile
  drain       from grab to job, of a full queue  echo        there and back        mixed  of each, see --mix

Every job is checked to be acknowledged, given out and answered once, with bytes of the right length. Functions have names of
this run only, and their queues are empty at the end (but for --keep). In an open loop latencies count from the moment when a
request should have been sent; a stall shows in all that should have been sent meanwhile.
"""

_UNITS = {"": 1, "k": 1000, "m": 1_000_000, "g": 1_000_000_000, "ki": 1 << 10, "mi": 1 << 20, "gi": 1 << 30}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLES
    parser.add_argument("kind", nargs="?", choices=KINDS, default="foreground", help="what to do (default: foreground)")
    add_server(parser)
    add = parser.add_argument
    add("-c", "--clients", type=_number, metavar="N", help="connections that submit (default: 8)")
    add("-w", "--workers", type=_number, metavar="N", help="connections that take jobs (default: 8)")
    add("--sleepers", type=_number, metavar="N", help="more workers, asleep at the beginning")
    add("--pipeline", type=_number, metavar="N", help="requests under way for each client (default: 1)")
    add("--grabs", type=_number, metavar="N", help="requests for jobs under way for each worker (default: 1)")
    add("--payload", type=_number, metavar="BYTES", help="of a job or echo (default: 16)")
    add("--result", type=_number, metavar="BYTES", help="of a result (default: as the payload)")
    add("--functions", type=_number, metavar="N", help="functions that jobs are for, in turn (default: 1)")
    add("--abilities", type=_number, metavar="N", help="functions of each worker (default: all)")
    add("--uniques", type=_uniques, metavar="none|all|N", help="none, all different, or from N (default: none)")
    add("--priorities", type=_weights, metavar="WEIGHTS", help=f"such as {PRIORITIES[0]}=1,normal=8,low=1")
    add("--mix", type=_weights, metavar="WEIGHTS", help=f"of a mixed load, such as {REQUESTS[0]}=5,background=3,echo=1")
    add("-n", "--count", type=_number, metavar="N", help="end after so many requests (k, M and so on may follow)")
    add("-t", "--seconds", type=float, metavar="S", help="end after so many seconds (default: 5; with --count 60)")
    add("--rate", type=_amount, metavar="N", help="requests a second, an open loop (default: closed)")
    add("--warm-up", type=float, metavar="S", help="seconds that do not count, before (default: 0.5)")
    add("--patience", type=float, metavar="S", help="how long the server may say nothing (default: 10)")
    add("--keep", action="store_true", help="leave the jobs of a background load without workers in their queue")
    add("--pid", type=int, metavar="PID", help="the server's process (default: found, where there is one that listens)")
    add("--check", action="store_true", help="check every handle; jobs of --uniques N only by count")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    address = _address(args)
    chosen = {one.name: getattr(args, one.name) for one in dataclasses.fields(Plan)}
    plan = Plan(**{name: value for name, value in chosen.items() if value is not None} | _set_uniques(args.uniques))
    progress = _line if sys.stderr.isatty() else None
    try:
        outcome = bench(address, plan, pid=args.pid, check_handles=args.check or None, progress=progress)
    except RemoteProtocolError as error:
        raise CommandError(f"this is no number, but a mistake of the server: {error}", FAILED) from error
    finally:
        if progress is not None:
            sys.stderr.write("\r\033[K")
    if args.json:
        print(json.dumps(dataclasses.asdict(outcome), indent=2))
    else:
        print("\n".join(_report(outcome)))
    if outcome.unanswered:
        note(f"{outcome.unanswered:,} requests had no answer in time; they count with the time that they waited")
    return INTERRUPTED if outcome.interrupted else OK


def _address(args: argparse.Namespace) -> Address:
    names = servers(args)
    if len(names) > 1:
        raise ConfigError(f"this command loads one server; choose one of {', '.join(names)} with --server")
    return Address.parse(names[0])


# -- values


def _number(text: str) -> int:
    return round(_amount(text))


def _amount(text: str) -> float:
    digits = text.rstrip("kKmMgGi")
    try:
        value = float(digits) * _UNITS[text[len(digits) :].lower()]
        round(value)  # neither infinite nor no number
        return value
    except (ValueError, KeyError, OverflowError):
        raise argparse.ArgumentTypeError(f"{text!r} is no number; write 1000, 1k or 16Ki") from None


def _uniques(text: str) -> str | int:
    return text if text in ("none", "all") else _number(text)


def _set_uniques(value: str | int | None) -> dict[str, int | None]:
    return {"uniques": None if value == "all" else 0 if value in ("none", None) else int(value or 0)}


def _weights(text: str) -> dict[str, int]:
    found = {}
    for part in text.split(","):
        name, _, weight = part.strip().partition("=")
        if not weight.isascii() or not weight.isdigit() or name in found:
            raise argparse.ArgumentTypeError(f"{text!r} is no list of weights; write name=1,other=8")
        found[name] = int(weight)
    return found


# -- output


def _line(seconds: float, requests: int) -> None:
    sys.stderr.write(f"\r\033[K{seconds:.1f} s  {requests:,} requests  {requests / max(seconds, 1e-9):,.0f}/s")
    sys.stderr.flush()


_UNIT = {"foreground": "jobs", "background": "jobs", "drain": "jobs", "echo": "echoes", "mixed": "requests"}
_LATENCY = {"background": "till acknowledged", "drain": "from grab to job"}


def _report(outcome: Outcome) -> list[str]:
    unit, latency = _UNIT[outcome.kind], outcome.latency_us
    lines = [
        f"{outcome.kind}: {outcome.requests:,} {unit} in {outcome.seconds:.3f} s on {outcome.server}"
        + (" (interrupted)" if outcome.interrupted else ""),
        f"  rate         {outcome.per_s:,.0f} {unit}/s",
        "  latency      "
        + ", ".join(
            f"{name} {_time(value)}"
            for name, value in (
                ("p50", latency.p50),
                ("p99", latency.p99),
                ("p99.9", latency.p999),
                ("most", latency.most),
            )
        )
        + (f" ({_LATENCY[outcome.kind]})" if outcome.kind in _LATENCY else ""),
    ]
    if outcome.target is not None:
        lines += _use(outcome.target, outcome)
    lines.append(
        f"  this load    {outcome.own_cpu_us_per_request:.2f} µs CPU each, {outcome.own_cpu_share:.0%} of a CPU"
        + ("; it may be the bottleneck" if outcome.own_cpu_share > 0.9 else "")
    )
    if outcome.assigned:
        lines.append(f"  workers      {outcome.assigned:,} jobs, {outcome.wakeups:,} times woken")
    return lines


def _use(use: ServerUse, outcome: Outcome) -> list[str]:
    memory = f"  its memory   {_size(use.rss_before)} before, {_size(use.rss)} at the end"
    if outcome.kind in ("background", "drain") and abs(use.rss - use.rss_after) > 1 << 20:
        memory += f", {_size(use.rss_after)} with the queue empty"
    if outcome.kind == "background" and not outcome.assigned and outcome.requests:
        memory += f"; {max(0, use.rss - use.rss_before) / outcome.requests:,.0f} bytes for each job in the queue"
    return [
        f"  server       {use.cpu_us_per_request:.2f} µs CPU each, {use.cpu_share:.0%} of a CPU (process {use.pid})",
        memory,
    ]


def _time(us: float) -> str:
    return f"{us:,.0f} µs" if us < 10_000 else f"{us / 1000:,.0f} ms" if us < 10_000_000 else f"{us / 1e6:,.1f} s"


def _size(number: int) -> str:
    return f"{number / (1 << 20):,.1f} MiB"
