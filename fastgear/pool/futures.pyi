import concurrent.futures
from typing import Any, TypeVar

T = TypeVar("T")

class HelpingFuture(concurrent.futures.Future[T]):
    """A future of concurrent.futures; who waits for its result does the receiving meanwhile."""

    def __init__(self, engine: Any) -> None: ...
    @property
    def engine(self) -> Any: ...
    def set_outcome(self, result: T | None, exception: BaseException | None) -> None:
        """Set one of them; callbacks are left to the engine. What is done already stays as it is."""

def late(text: str) -> TimeoutError:
    """What to raise for a time that is over: everybody's TimeoutError, multiprocessing's and concurrent.futures' too."""
