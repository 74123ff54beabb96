"""Checksums that source formats carry and their readers pass over: pages of Ogg, the MD5 of FLAC.

FFmpeg drops an Ogg page whose CRC fails without a word, and compares no MD5.
"""

from __future__ import annotations

import io
import zlib
from pathlib import Path

REVERSED = bytes(int(f"{b:08b}"[::-1], 2) for b in range(256))
OGG_HEADER = 27  # F: RFC 3533, section 6
END_OF_STREAM = 4


def ogg_crc(page: bytes) -> int:
    """CRC-32 of polynomial 0x04c11db7, most significant bit first, from 0: zlib's with every byte and the
    result reversed, and without the inversions at both ends.
    """
    crc = zlib.crc32(page.translate(REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{crc:032b}"[::-1], 2)


def ogg_damage(source: Path | bytes) -> str:
    """What is wrong with the pages of an Ogg file: a CRC that fails, a page that is missing or cut short; ""
    if nothing. What follows the last page of all streams (tags of other formats) is no damage.
    """
    with source.open("rb") if isinstance(source, Path) else io.BytesIO(source) as file:
        numbers: dict[bytes, int] = {}
        running: set[bytes] = set()
        at = 0
        while header := file.read(OGG_HEADER):
            if len(header) < OGG_HEADER or header[:4] != b"OggS":
                return f"there is no page at byte {at}" if running or not numbers else ""
            segments = file.read(header[26])
            size = sum(segments)
            body = file.read(size)
            if len(segments) < header[26] or len(body) < size:
                return f"the page at byte {at} is cut short"
            stream, number = header[14:18], int.from_bytes(header[18:22], "little")
            crc = ogg_crc(header[:22] + bytes(4) + header[26:] + segments + body)
            if crc != int.from_bytes(header[22:26], "little"):
                return f"the CRC of the page at byte {at} fails"
            if number != numbers.get(stream, -1) + 1 and stream in numbers:
                return f"before the page at byte {at} {number - numbers[stream] - 1} are missing"
            numbers[stream] = number
            (running.discard if header[5] & END_OF_STREAM else running.add)(stream)
            at += OGG_HEADER + len(segments) + size
        return "the end is missing" if running else ""


def flac_md5(extradata: bytes) -> bytes:
    """Of all samples, as STREAMINFO says; empty if it does not."""
    digest = extradata[18:34] if len(extradata) >= 34 else b""
    return digest if any(digest) else b""
