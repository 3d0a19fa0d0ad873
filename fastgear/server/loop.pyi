from fastgear.config import ServerConfig

class Loop:
    """The epoll loop and its state. `run` returns after `stop`; everything else is for other threads than its own."""

    def __new__(
        cls,
        config: ServerConfig,
        prefix: bytes,
        version: bytes,
        verbose: bytes,
        random: bytes,
        first_number: int,
        durable: bool = False,
    ) -> Loop: ...
    def listen(self, fd: int) -> None:
        """Own this listening descriptor from now on, also when this raises; before `run` only."""

    def open(self) -> None:
        """Take requests of other threads from now on; before `run` only."""

    def run(self) -> None: ...
    def stop(self, drain_s: float) -> None: ...
    def pause(self) -> bool:
        """Let the loop stand still until `resume`; False when it has ended."""

    def resume(self) -> None: ...
    def advance(self, seconds: float) -> bool:
        """Be so much later from now on, with all that is due by then; False when the loop has ended."""

    def forget(self) -> None:
        """In a forked child whose parent paused the loop: close this copy's descriptors."""

    def command(self, line: bytes) -> bytes | None:
        """The reply to a text command that ends in a newline; None when the loop has ended."""

    def counters(self) -> dict[str, int]: ...
