"""The outer structure of videos and PNGs, to notice a truncated one before it is decoded.

Most containers say at their beginning how long they are; a file that is shorter was cut. MPEG's
streams only consist of whole packets: of one that was cut between two, the last frame tells (see
`common.video_file`).

Sources: ISO/IEC 14496-12 section 4.2 (boxes of MP4 and QuickTime), RFC 8794 section 4 and RFC 9559
(EBML, Matroska and WebM), RFC 2083 sections 2 and 3 (PNG), ISO/IEC 13818-1 sections 2.4.3 and 2.5.3
(transport and program streams), Microsoft's specifications of RIFF (AVI) and ASF (WMV).
"""

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

EBML, SEGMENT = bytes.fromhex("1a45dfa3"), bytes.fromhex("18538067")
"""The elements that a Matroska file begins with: a header, and all the rest."""

ASF = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
ASF_FILE_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
"""The identifiers of an ASF file's header, and of the object in it that knows the file's size."""

SYNC, PACKET, TIMED_PACKET = 0x47, 188, 192
"""How a packet of a transport stream begins and how long it is, alone or after 4 bytes of time."""

PREFIX, PACK, END = b"\0\0\1", 0xBA, 0xB9
"""What everything in a program stream begins with, and the next byte of a pack and of the end."""

PROGRAM_TAIL = 2**18
"""Bytes at a program stream's end in which its last packs are looked for."""

INFLATED = 2**20
"""So many bytes of a PNG are unpacked at a time."""

CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Samples of a pixel by a PNG's kind of colours."""

PASSES = (
    *((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4)),
    *((2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)),
)
"""Of an interlaced PNG: first row, first column, and the steps from one to the next."""


def is_cut_short(path: Path) -> bool:
    """True where a video file is shorter than it says, or is an MP4 without its index."""
    length = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(2 * TIMED_PACKET)
        file.seek(0)
        for belongs, needs in _CONTAINERS:
            if belongs(start):
                return needs(file, length) > length
    return False


def lacks_rows(file: BinaryIO) -> bool:
    """Whether a PNG's data end properly, but before its last row, which decoders leave black."""
    file.seek(16)  # after the signature, and length and name of the header
    width, height, bits, colours, _, _, interlaced = struct.unpack(">IIBBBBB", file.read(13))
    file.seek(4, 1)
    passes = PASSES if interlaced else ((0, 0, 1, 1),)
    missing = 0
    for top, left, down, right in passes:
        rows, columns = -(-(height - top) // down), -(-(width - left) // right)
        if rows > 0 and columns > 0:
            missing += rows * (1 + -(-columns * bits * CHANNELS[colours] // 8))
    inflated = zlib.decompressobj()
    while missing > 0 and not inflated.eof:
        length, name = struct.unpack(">I4s", file.read(8))
        content = file.read(length)
        file.seek(4, 1)
        while name == b"IDAT" and content and missing > 0:
            missing -= len(inflated.decompress(content, INFLATED))
            content = inflated.unconsumed_tail
    return missing > 0


def _mp4_needs(file: BinaryIO, length: int) -> int:
    """Where the last box ends; one more than there is where the index is absent.

    A box begins with its size in 32 bits and its type. Size 1 means that 64 bits follow, size 0
    that the box goes on to the file's end.
    """
    position, types = 0, set()
    while position < length:
        file.seek(position)
        header = file.read(16)
        size, kind = int.from_bytes(header[:4], "big"), header[4:8]
        if size == 1:
            size = int.from_bytes(header[8:16], "big")
        size = size or length - position
        types.add(kind)
        if size < 8:
            return length + 1
        position += size
    return position if types & {b"moov", b"moof"} else length + 1


def _matroska_needs(file: BinaryIO, length: int) -> int:
    """Where the segment ends; of a recording of unknown length, 0."""
    file.seek(len(EBML))
    header = _ebml_size(file)
    if header is None:
        return 0
    file.seek(header, 1)
    if file.read(len(SEGMENT)) != SEGMENT:
        return length + 1 if file.tell() >= length else 0
    size = _ebml_size(file)
    return 0 if size is None else file.tell() + size


def _ebml_size(file: BinaryIO) -> int | None:
    """A number whose first byte begins with as many zeros as bytes follow; None if all ones."""
    first = file.read(1)
    if not first or not first[0]:
        return None
    following = 8 - first[0].bit_length()
    bits = 7 * (following + 1)
    number = int.from_bytes(first + file.read(following), "big") & ((1 << bits) - 1)
    return None if number == (1 << bits) - 1 else number


def _avi_needs(file: BinaryIO, length: int) -> int:
    """Where the first RIFF chunk ends; long files have more of them."""
    file.seek(4)
    return 8 + int.from_bytes(file.read(4), "little")


def _asf_needs(file: BinaryIO, length: int) -> int:
    """The file's size as its properties have it; of a broadcast, 0."""
    file.seek(16)
    header = int.from_bytes(file.read(8), "little")
    if header > length:
        return header
    file.seek(30)  # after identifier, size, number of objects and two reserved bytes
    while file.tell() < header:
        start, identifier = file.tell(), file.read(16)
        size = int.from_bytes(file.read(8), "little")
        if identifier == ASF_FILE_PROPERTIES:
            properties = file.read(80)
            is_broadcast = properties[64] & 1
            return 0 if is_broadcast else int.from_bytes(properties[16:24], "little")
        if size < 24:
            break
        file.seek(start + size)
    return 0


def _is_stream(start: bytes, packet: int) -> bool:
    """Whether two packets of a transport stream follow each other."""
    return len(start) > 2 * packet - 184 and start[packet - 188] == start[2 * packet - 188] == SYNC


def _stream_needs(packet: int) -> Callable[[BinaryIO, int], int]:
    return lambda file, length: -(-length // packet) * packet


def _program_needs(file: BinaryIO, length: int) -> int:
    """Where the last packet ends, walking from the first pack among the last bytes.

    A pack's header has a fixed length and stuffing; other parts have a length in 16 bits.
    """
    first = max(0, length - PROGRAM_TAIL)
    file.seek(first)
    tail = file.read()
    place = tail.find(PREFIX + bytes([PACK]))
    while 0 <= place < len(tail):
        kind = tail[place + 3 : place + 4]
        if tail[place : place + 3] != PREFIX or kind == bytes([END]):
            return 0  # padding, or an end that was written down
        if kind == bytes([PACK]):
            is_second = len(tail) > place + 4 and tail[place + 4] >> 6 == 1
            stuffing = tail[place + 13] & 7 if is_second and len(tail) > place + 13 else 0
            place += 14 + stuffing if is_second else 12
        else:
            place += 6 + int.from_bytes(tail[place + 4 : place + 6], "big")
    return first + place


_CONTAINERS: tuple[tuple[Callable[[bytes], bool], Callable[[BinaryIO, int], int]], ...] = (
    (lambda start: start[4:8] == b"ftyp", _mp4_needs),
    (lambda start: start.startswith(EBML), _matroska_needs),
    (lambda start: start.startswith(b"RIFF") and start[8:12] == b"AVI ", _avi_needs),
    (lambda start: start.startswith(ASF), _asf_needs),
    (lambda start: start.startswith(PREFIX + bytes([PACK])), _program_needs),
    (lambda start: _is_stream(start, PACKET), _stream_needs(PACKET)),
    (lambda start: _is_stream(start, TIMED_PACKET), _stream_needs(TIMED_PACKET)),
)
"""How a container is known by its first bytes, and how many bytes it needs."""
