from fastgear.protocol.packet import PACKETS as PACKETS
from fastgear.protocol.packet import PacketType as PacketType

__all__ = ["PACKETS", "Packet", "PacketReader", "PacketType", "pack_request", "pack_response"]

class Packet:
    """One packet as it came: its `type`, whether it `is_request`, and its `args` in order, the data last."""

    @property
    def type(self) -> PacketType: ...
    @property
    def is_request(self) -> bool: ...
    @property
    def args(self) -> tuple[bytes, ...]: ...

class PacketReader:
    """Cut a stream of bytes into packets.

    Not thread-safe; one reader per connection and direction.

    >>> reader = PacketReader()
    >>> [packet.type.name for packet in reader.feed(pack_response(PacketType.NOOP) * 2)]
    ['NOOP', 'NOOP']
    """

    def __init__(self, max_packet_size: int = ...) -> None: ...
    def feed(self, data: bytes | bytearray | memoryview) -> list[Packet]:
        """Take `data` and return the packets that are complete by now.

        Raises RemoteProtocolError when the peer breaks the protocol; the reader is of no use after that.
        """

    @property
    def pending(self) -> int:
        """Bytes of a packet that is not complete yet."""

def pack_request(type: PacketType | int, /, *args: bytes | bytearray | memoryview) -> bytes:
    """Encode a packet with the request magic.

    `args` are the arguments in order, the data last. Raises LocalProtocolError for a wrong number of them, for a NUL in
    an argument that another one follows, and for a packet of 4 GiB or more.
    """

def pack_response(type: PacketType | int, /, *args: bytes | bytearray | memoryview) -> bytes:
    """Encode a packet with the response magic; otherwise as `pack_request`."""
