# SPDX-License-Identifier: MIT
"""What came back from a server, in a few words."""

from __future__ import annotations

from collections.abc import Iterator

from speak import cut, request, response

FOLLOWING = request("ECHO_REQ", b"in step")  # sent behind every request that is whole
_FOLLOWED = response("ECHO_RES", b"in step")


def is_followed(came: bytes) -> bool:
    return came.endswith(_FOLLOWED)


def _items(came: bytes) -> Iterator[str]:
    while came:
        if came[0] == 0:
            packets, rest = cut(came[: 12 + int.from_bytes(came[8:12], "big")])
            ((name, args),) = packets
            yield f"ERROR {args[0].decode()}" if name == "ERROR" and has_sentence(args) else name
            came = rest + came[12 + int.from_bytes(came[8:12], "big") :]
        else:
            line, _, came = came.partition(b"\n")
            yield " ".join(line.decode("latin-1").strip().split(" ")[: 2 if line.startswith(b"ERR") else 1])


def has_sentence(args: tuple[bytes, ...]) -> bool:
    return len(args) == 2 and b"_" not in args[1] and (b" " in args[1])


def verdict(came: bytes, *, closed: bool) -> str:
    """Each answer once, `closes`, `in step`; `silence` where neither an end nor an answer to what followed came."""
    followed = is_followed(came)
    found = list(dict.fromkeys(_items(came.removesuffix(_FOLLOWED))))
    if closed:
        found.append("closes")
    elif not followed:
        found.append("silence")
    return ", ".join(found) or "in step"
