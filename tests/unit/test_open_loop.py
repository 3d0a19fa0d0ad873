# SPDX-License-Identifier: MIT
"""How benchmarks/open_loop.py searches for the highest rate, and syscalls.py reads tables. Nothing is measured here."""

from __future__ import annotations

import pytest
from open_loop import LEAST, MOST, Found, Tried, failure_of, highest
from syscalls import Measured, calls_in


class Server:
    """Good up to a rate; `hiccups` are the probes, by number, that fail whatever the rate."""

    def __init__(self, limit: float, hiccups: tuple[int, ...] = ()) -> None:
        self.rates: list[float] = []
        self._limit, self._hiccups = limit, hiccups

    def __call__(self, rate: float) -> Tried:
        self.rates.append(rate)
        return Tried(rate, "slow" if rate > self._limit or len(self.rates) in self._hiccups else "")


@pytest.mark.parametrize("limit", [200, 333, 50_000, 123_456, 99_999.9, 100_000, 7_654_321])
def test_the_limit_is_found_to_three_hundredths(limit: float) -> None:
    server = Server(limit)
    found = highest(server, 50_000, 0.03)
    assert found is not None and found.bad is not None
    assert found.good.rate <= limit < found.bad.rate <= found.good.rate * 1.03
    assert found.probes == len(server.rates) <= 40


def test_it_doubles_and_then_halves_the_gap() -> None:
    server = Server(300)
    assert highest(server, 100, 0.5) is not None
    assert [round(rate) for rate in server.rates] == [100, 200, 400, 400, 283], "what fails is tried again"


def test_one_hiccup_does_not_count_and_two_in_a_row_do() -> None:
    once, twice = Server(300, hiccups=(2,)), Server(300, hiccups=(2, 3))
    found = highest(once, 100, 0.5)
    assert found is not None and round(found.good.rate) == 283
    found = highest(twice, 100, 0.5)
    assert found is not None and found.bad is not None and found.bad.rate == 200


def test_neither_end_is_passed() -> None:
    assert highest(Server(LEAST / 2), 1000, 0.03) is None
    everything = Server(float("inf"))
    found = highest(everything, 1_000_000, 0.03)
    assert found is not None and (found.good.rate, found.bad) == (MOST, None) and max(everything.rates) == MOST


def outcome(per_s: float, p99_us: float, unanswered: int = 0) -> dict[str, object]:
    return {"per_s": per_s, "latency_us": {"p99": p99_us}, "unanswered": unanswered}


def test_why_a_rate_fails() -> None:
    assert failure_of(outcome(98.1, 9_999), 100, 10) == ""
    assert failure_of(outcome(97.9, 100), 100, 10) == "only 97.9% of the rate"
    assert failure_of(outcome(100, 10_000), 100, 10) == "p99 10.0 ms"
    assert failure_of(outcome(100, 100, 3), 100, 10) == "3 jobs without an answer"


def test_who_was_the_limit() -> None:
    def limit(server: float, load: float) -> str:
        bad = Tried(2, "slow", per_s=2, server_share=server, load_share=load)
        return Found(Tried(1, "", per_s=1), bad, 4).limit

    assert limit(0.95, 0.6) == "the server"
    assert limit(0.6, 0.95) == "the load"
    assert limit(0.95, 0.95) == "server and load"
    assert limit(0.5, 0.5) == "neither had its CPU full"
    silent = Tried(2, "more than 12 s")
    assert Found(Tried(1, "", 1, server_share=0.99), silent, 4).limit == "the server", "as far as is known"


STRACE = """\
% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 68.53    0.504479           5     99500           sendto
  0.02    0.000121           2        17         1 accept4
------ ----------- ----------- --------- --------- ----------------
100.00    0.736096           3    186848         1 total
"""

PERF = """\
 Summary of events:

 python (14544), 349408 events, 100.0%

   syscall            calls  errors  total       min       avg       max       stddev
                                     (msec)    (msec)    (msec)    (msec)        (%)
   --------------- --------  ------ -------- --------- --------- ---------     ------
   epoll_wait         10063      0   451.956     0.000     0.045     4.895      5.65%
   accept4               18      2     0.066     0.002     0.004     0.023     31.30%


 python (14545), 20 events, 0.0%

   epoll_wait             5      0   451.956     0.000     0.045     4.895      5.65%
"""


def test_calls_are_read_from_either_table() -> None:
    assert calls_in(STRACE, "strace") == {"sendto": 99500, "accept4": 17}
    assert calls_in(PERF, "perf") == {"epoll_wait": 10068, "accept4": 18}


def test_calls_a_job_by_group() -> None:
    groups = Measured(10, 1.0, {"recvfrom": 20, "poll": 5, "epoll_wait": 5, "madvise": 1}).groups
    assert (groups["recv"], groups["epoll_wait"], groups["send"], groups["total"]) == (2, 1, 0, 3.1)
    assert groups["others"] == pytest.approx(0.1)
