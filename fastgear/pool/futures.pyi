import concurrent.futures
from typing import Any, TypeVar

__all__ = ["HelpingFuture", "late"]

_T = TypeVar("_T")

class HelpingFuture(concurrent.futures.Future[_T]):
    """A future of concurrent.futures; who waits for its result does the receiving meanwhile."""

    def __init__(self, engine: Any) -> None: ...
    @property
    def engine(self) -> Any: ...
    def set_outcome(self, result: _T | None, exception: BaseException | None) -> None:
        """Set one of them; callbacks are left to the engine. What is done already stays as it is."""

def late(text: str) -> TimeoutError:
    """What to raise for a time that is over: everybody's TimeoutError, multiprocessing's and concurrent.futures' too."""
