"""One checkpoint record: a line of JSON that carries its own checksum.

    {"crc":"1f2e3d4c","kind":"…",…}

The checksum (CRC-32, hexadecimal) covers everything after the comma that follows it, up to the newline. A
record that was torn, zeroed or overwritten fails it and is never trusted. `jq` reads the file as it is.
"""

from __future__ import annotations

import zlib

PREFIX = len(b'{"crc":"00000000",')


def seal(members: bytes) -> bytes:
    """The whole line for `"kind":…,…` (members without braces)."""
    rest = members + b"}"
    return b'{"crc":"%08x",%s\n' % (zlib.crc32(rest), rest)


def is_whole(line: bytes) -> bool:
    """Whether a line (without its newline) is a record and its checksum holds."""
    return len(line) > PREFIX and line[:PREFIX] == b'{"crc":"%08x",' % zlib.crc32(line[PREFIX:])
