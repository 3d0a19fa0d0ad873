from fastgear.server.loop import Loop

class Local:
    """A connection of this process to its own server: bytes in, bytes out, from any thread.

    Made by `Server.connect`. What comes out has to be taken by one thread at a time, since it is one stream.
    """

    def __init__(self, owner: Loop) -> None: ...
    def close(self) -> None:
        """Leave the server: jobs that wait for nobody else are dropped."""

    def send(self, data: bytes | bytearray | memoryview) -> None:
        """Hand it over; it has been handled when this returns. Raises ConnectionResetError when the server has ended."""

    def receive(self, timeout: float | None = None, help: bool = False) -> bytes:
        """Wait for output and take it: b"" when `timeout` seconds pass, at `interrupt`, or when a signal came.

        With `help` this thread turns the loop while it waits. Raises ConnectionResetError when the server has ended.
        """

    @property
    def taken(self) -> int:
        """How often `receive` has returned something, even where a signal kept that from its caller."""

    def interrupt(self) -> None:
        """Let the `receive` that waits return, or else the next one."""
