class Line:
    """On a connected, blocking socket `fd`. `wake_fd` is readable when a wait is to end."""

    def __init__(self, fd: int, wake_fd: int) -> None: ...
    def receive(self) -> bytes | None:
        """What has come, waiting for it; None at the end of the stream, b"" when the wait was ended by a signal."""

    def send(self, data: bytes | bytearray | memoryview) -> None:
        """All of it. Raises OSError."""
