"""Checksums that source formats carry and their readers pass over: pages of Ogg, the MD5 of FLAC, elements of
Matroska, slices of FFV1.

FFmpeg drops an Ogg page whose CRC fails without a word, compares neither MD5 nor the sums of Matroska, and
fills a slice of FFV1 that fails with the picture before.
"""

from __future__ import annotations

import io
import zlib
from pathlib import Path
from typing import BinaryIO

from tersor.files.cut_short import EBML, SEGMENT, vint

REVERSED = bytes(int(f"{b:08b}"[::-1], 2) for b in range(256))
OGG_HEADER = 27  # F: RFC 3533, section 6
END_OF_STREAM = 4
PIECE = 1 << 20
EBML_CRC = b"\xbf\x84"  # F: RFC 8794, 11.3.1: the first element in another, of 4 bytes
LEVEL_1 = {  # F: RFC 9559, 5.1: what a segment holds
    *(b"\x11\x4d\x9b\x74", b"\x15\x49\xa9\x66", b"\x16\x54\xae\x6b", b"\x10\x43\xa7\x70"),
    *(b"\x1f\x43\xb6\x75", b"\x1c\x53\xbb\x6b", b"\x19\x41\xa4\x69", b"\x12\x54\xc3\x67"),
    *(b"\xec", b"\xbf"),  # nothing, and the CRC of all
}
SLICE_SIZE, SLICE_SUM = 3, 5  # F: RFC 9043, 4.9: bytes of a slice's length; of its state and CRC
SLICE_STARTS = (0, 0x7A8C4079)  # F: what the CRC starts from; the second of version 4


def ogg_crc(page: bytes, start: int = 0) -> int:
    """CRC-32 of polynomial 0x04c11db7, most significant bit first: zlib's with every byte and the result
    reversed, and without the inversions at both ends. Of FFV1 too.
    """
    crc = zlib.crc32(page.translate(REVERSED), int(f"{start:032b}"[::-1], 2) ^ 0xFFFFFFFF) ^ 0xFFFFFFFF
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


def matroska_damage(source: Path | bytes) -> str:
    """What is wrong with the elements of a Matroska file that carry a CRC; "" if nothing, or none does."""
    with source.open("rb") if isinstance(source, Path) else io.BytesIO(source) as file:
        size = file.seek(0, io.SEEK_END)
        file.seek(0)
        if file.read(4) != EBML:
            return ""
        at, summed = 0, False
        while at < size:
            file.seek(at)
            head = file.read(16)
            width = 9 - head[0].bit_length() if head[0] else 5
            name = head[:width]
            length, inside = vint(head, width)
            if name == SEGMENT:  # its elements come next
                at += inside
                continue
            if name not in LEVEL_1 and name != EBML:
                return f"there is no element at byte {at}" if summed else ""
            if length < 0:  # of a stream: whatever comes
                return ""
            file.seek(at + inside)
            if file.read(2) == EBML_CRC and length >= 6:
                summed = True
                expected = int.from_bytes(file.read(4), "little")
                if _crc32(file, length - 6) != expected:
                    return f"the CRC of the element at byte {at} fails"
            at += inside + length
        return ""


def _crc32(file: BinaryIO, size: int) -> int:
    crc = 0
    while size > 0 and (piece := file.read(min(size, PIECE))):
        crc, size = zlib.crc32(piece, crc), size - len(piece)
    return crc


class SliceSums:
    """The CRCs of FFV1's slices, packet by packet; whether there are any, the first packet shows."""

    def __init__(self) -> None:
        self._start: int | None = None
        self._none = False

    def fail(self, packet: bytes) -> bool:
        """Whether a slice of a packet fails its CRC."""
        if self._none or not packet:
            return False
        slices = _slices(packet, SLICE_SIZE + SLICE_SUM)
        starts = SLICE_STARTS if self._start is None else (self._start,)
        for start in starts if slices else ():
            if all(ogg_crc(packet[a:b], start) == start for a, b in slices):
                self._start = start
                return False
        self._none = self._start is None and bool(_slices(packet, SLICE_SIZE))
        return not self._none


def _slices(packet: bytes, footer: int) -> list[tuple[int, int]]:
    """(begin, end) of a packet's slices, whose lengths stand in their footers; none if they do not fit."""
    out, end = [], len(packet)
    while end > 0:
        begin = end - footer - int.from_bytes(packet[max(0, end - footer) : end - footer + SLICE_SIZE], "big")
        if begin < 0:
            return []
        out.append((begin, end))
        end = begin
    return out


def flac_md5(extradata: bytes) -> bytes:
    """Of all samples, as STREAMINFO says; empty if it does not."""
    digest = extradata[18:34] if len(extradata) >= 34 else b""
    return digest if any(digest) else b""
