"""Writes what no well-behaved client would: records and commits by hand, over a plain socket.

librdkafka takes header names as text only, and refuses what it thinks too large. A hostile client does neither, so the
corpus needs one that writes bytes as they are. Source: Kafka's protocol guide, Produce v3 and record batch v2.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

RawHeaders = Sequence[tuple[bytes, bytes | None]]


@dataclass(frozen=True)
class RawRecord:
    """A record as bytes."""

    key: bytes | None
    value: bytes | None
    headers: RawHeaders = field(default=())


class Refused(Exception):
    """The broker did not take the records; the error code is Kafka's."""


def produce(servers: str, topic: str, partition: int, records: Sequence[RawRecord]) -> int:
    """Write records to a partition and return the offset of the first."""
    body = struct.pack(">hhi", -1, 1, 30_000) + struct.pack(">i", 1) + _text(topic)
    batch = _batch(records)
    body += struct.pack(">ii", 1, partition) + struct.pack(">i", len(batch)) + batch
    answer = _ask(servers, struct.pack(">hhi", 0, 3, 1), body)
    at = 4 + 4 + 2 + len(topic.encode()) + 4 + 4  # correlation id, topics, name, partitions, index
    error, offset = struct.unpack_from(">hq", answer, at)
    if error:
        raise Refused(error)
    return int(offset)


def commit(servers: str, group: str, topic: str, partition: int, offset: int, metadata: bytes) -> None:
    """Commit an offset of a group without members, with metadata as bytes (OffsetCommit v2)."""
    head = _text(group) + struct.pack(">i", -1) + _text("") + struct.pack(">q", -1)
    body = head + struct.pack(">i", 1) + _text(topic) + struct.pack(">iiq", 1, partition, offset)
    answer = _ask(servers, struct.pack(">hhi", 8, 2, 1), body + struct.pack(">h", len(metadata)) + metadata)
    (error,) = struct.unpack_from(">h", answer, 4 + 4 + 2 + len(topic.encode()) + 4 + 4)
    if error:
        raise Refused(error)


def _ask(servers: str, head: bytes, body: bytes) -> bytes:
    """Send a request to the first of the servers and return the answer."""
    request = head + _text("hostile") + body
    host, _, port = servers.split(",", maxsplit=1)[0].rpartition(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(struct.pack(">i", len(request)) + request)
        return _read(connection, *struct.unpack(">i", _read(connection, 4)))


def _read(connection: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        part = connection.recv(size - len(found))
        if not part:
            raise ConnectionError("the broker closed the connection")
        found += part
    return found


def _text(text: str) -> bytes:
    data = text.encode()
    return struct.pack(">h", len(data)) + data


def _batch(records: Sequence[RawRecord]) -> bytes:
    now = time.time_ns() // 1_000_000
    rows = b"".join(_record(at, record) for at, record in enumerate(records))
    after_crc = struct.pack(">hiqqqhii", 0, len(records) - 1, now, now, -1, -1, -1, len(records)) + rows
    inner = struct.pack(">ib", -1, 2) + struct.pack(">I", crc32c(after_crc)) + after_crc
    return struct.pack(">qi", 0, len(inner)) + inner


def _record(at: int, record: RawRecord) -> bytes:
    row = b"\x00" + _varint(0) + _varint(at) + _bytes(record.key) + _bytes(record.value) + _varint(len(record.headers))
    row += b"".join(_bytes(name) + _bytes(value) for name, value in record.headers)
    return _varint(len(row)) + row


def _bytes(data: bytes | None) -> bytes:
    return _varint(-1) if data is None else _varint(len(data)) + data


def _varint(number: int) -> bytes:
    left = (number << 1) ^ (number >> 63)
    out = bytearray()
    while left > 0x7F:
        out.append(left & 0x7F | 0x80)
        left >>= 7
    out.append(left)
    return bytes(out)


def crc32c(data: bytes) -> int:
    """Return the Castagnoli checksum (RFC 3720, appendix B.4), which the standard library lacks."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


def _row(number: int) -> int:
    for _ in range(8):
        number = (number >> 1) ^ (0x82F63B78 if number & 1 else 0)
    return number


_TABLE = [_row(number) for number in range(256)]
