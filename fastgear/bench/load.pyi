from collections.abc import Sequence
from types import TracebackType

from fastgear.bench.handles import Handles
from fastgear.bench.histogram import Histogram

class Load:
    """Connections that are clients and workers of one server, and what they do. For one thread.

    Every method raises ConnectionLost when a connection breaks, ServerError when the server says ERROR, and
    RemoteProtocolError when it says something wrong.
    """

    latencies: Histogram
    handles: Handles | None

    def __new__(
        cls,
        address: object,
        functions: Sequence[bytes],
        *,
        clients: Sequence[int] = (),
        workers: Sequence[int] = (),
        sleepers: Sequence[int] = (),
        abilities: int = 0,
        pipeline: int = 1,
        grabs: int = 1,
        payload: int = 0,
        result: int = 0,
        kinds: Sequence[int] = (1, 0, 0),
        priorities: Sequence[int] = (0, 1, 0),
        uniques: int | None = 0,
        unique_prefix: bytes = b"",
        seed: int = 0,
        handles: Handles | None = None,
        taking: bool = False,
        refusable: bool = False,
        interval_ns: float = 0.0,
    ) -> Load:
        """`clients`, `workers` and `sleepers` are descriptors of connected, non-blocking sockets, which stay the caller's.

        `uniques`: 0 for none, None for another one each time, or the size of the set they are from. `abilities`: functions
        of each worker, 0 for all. `taking`: there are workers only, which empty a queue. `refusable`: QUEUE_ERROR ends a
        request, and not the load; such requests are counted apart. `interval_ns`: of an open loop.
        """

    def settle(self) -> None:
        """Ask the server on each connection whether it has seen everything; `run` returns True once it has."""

    def begin(self, limit: int, seconds: float | None = None) -> None:
        """Begin a stretch of so many requests (jobs, when taking), or so many seconds, and count from zero."""

    def run(self, slice_s: float) -> bool:
        """Go on, for no longer than so many seconds and not beyond the end of the stretch's time. True: all is done."""

    def stop(self) -> None:
        """Submit nothing more in this stretch; a queue that is being emptied still gets empty."""

    def give_up(self) -> int:
        """Count requests without an answer among the latencies, with the time that they have waited; return how many."""

    def close(self) -> None: ...
    def __enter__(self) -> Load: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...
    @property
    def is_closing(self) -> bool:
        """All requests of the stretch are sent, or its time is over."""

    @property
    def waiting(self) -> int:
        """Requests without an answer, and jobs that were not given out."""

    @property
    def silence_s(self) -> float:
        """Since anything got done."""

    @property
    def elapsed_s(self) -> float:
        """Since the stretch began."""

    @property
    def busy_s(self) -> float:
        """From the beginning to the last answer."""

    @property
    def counts(self) -> dict[str, int]: ...
