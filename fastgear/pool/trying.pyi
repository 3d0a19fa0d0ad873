import threading

__all__ = ["Trying"]

class Trying:
    """`with Trying(lock, seconds) as ours:` has the lock where `ours` is true. 0 does not wait, -1 waits for ever."""

    def __init__(self, lock: threading.Lock, seconds: float) -> None: ...
    def __enter__(self) -> bool: ...
    def __exit__(self, *_error: object) -> None: ...
