"""The outer structure of MP4 files, to notice a truncated one before it is decoded.

Source: ISO/IEC 14496-12, section 4.2: a file is a row of boxes; a box begins with its size in 32
bits and its type. Size 1 means that 64 bits follow, size 0 that the box goes on to the file's end.
"""

from pathlib import Path


def has_boxes(path: Path) -> bool:
    """True for MP4 and its relatives, which begin with a box of the type ftyp."""
    with path.open("rb") as file:
        return file.read(8)[4:] == b"ftyp"


def is_cut_short(path: Path) -> bool:
    """True where an MP4's last box runs past the end of the file, or its index is absent."""
    if not has_boxes(path):
        return False
    length, position, types = path.stat().st_size, 0, set()
    with path.open("rb") as file:
        while position < length:
            file.seek(position)
            header = file.read(16)
            size, kind = int.from_bytes(header[:4], "big"), header[4:8]
            if size == 1:
                size = int.from_bytes(header[8:16], "big")
            size = size or length - position
            types.add(kind)
            if size < 8 or position + size > length:
                return True
            position += size
    return not types & {b"moov", b"moof"}
