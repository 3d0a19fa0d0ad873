class HeldBack:
    """Bytes that wait up to `most_s` seconds for company, and then leave by a thread that needs no GIL.

    For one thread, beside its own, which is made at the first `add`. In a forked child nothing is held back.
    """

    def __new__(cls, most_s: float) -> HeldBack: ...
    def add(self, fd: int, data: bytearray) -> bool:
        """Hold back `data` for the socket `fd`; False where that is not possible, so that the caller has to send.

        It is not possible when bytes for another socket are held back, and when there is no room or no thread.
        """

    def take(self, fd: int) -> bytes:
        """What is held back for the socket `fd` and has not left; it is the caller's to send from here on."""

    def close(self) -> None:
        """Forget what is held back, and end the thread. Idempotent; the next `add` makes another."""
