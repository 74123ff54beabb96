"""Whether a video container says that it is longer than its file: what FFmpeg reads without a word up to
where a download stopped.

Matroska's segment (RFC 8794, RFC 9559), the boxes of MP4 and MOV (ISO 14496-12, 4.2) and RIFF's chunk say
their length in the first bytes.
"""

from __future__ import annotations

import os
from typing import BinaryIO

EBML, SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"
MAX_BOXES = 1 << 16


def announced_size(file: BinaryIO) -> int:
    """Bytes that a container says it has; 0 if it does not say. The file is read from its start."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    front = file.read(64)
    if front[:4] == EBML:
        return _matroska(front)
    if front[:4] == b"RIFF" and front[8:12] == b"AVI ":
        return 8 + int.from_bytes(front[4:8], "little")
    if front[4:8] in (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide"):
        return _boxes(file, size)
    return 0


def _matroska(front: bytes) -> int:
    length, at = vint(front, 4)
    at += length
    if front[at : at + 4] != SEGMENT:
        return 0
    length, at = vint(front, at + 4)
    return at + length if length >= 0 else 0


def vint(data: bytes, at: int) -> tuple[int, int]:
    """(EBML's variable-length number, or -1 for unknown, where it ends)."""
    if at >= len(data) or not data[at]:
        return -1, len(data)
    n = 9 - data[at].bit_length()
    value = int.from_bytes(data[at : at + n], "big") & ((1 << (7 * n)) - 1)
    return (-1 if value == (1 << (7 * n)) - 1 else value), at + n


def _boxes(file: BinaryIO, size: int) -> int:
    at = 0
    for _ in range(MAX_BOXES):
        file.seek(at)
        head = file.read(16)
        if len(head) < 8:
            return at + 8 if head else at
        length = int.from_bytes(head[:4], "big")
        length = int.from_bytes(head[8:16], "big") if length == 1 else length
        if length < 8:  # 0: to the end of the file
            return size
        at += length
        if at >= size:
            return at
    return 0
