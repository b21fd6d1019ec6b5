"""What packed pixels (JPEG, JPEG-LS, JPEG 2000) say of themselves: a decoder that believes a garbled head ends the program."""

from __future__ import annotations

import struct

JPEG_START, J2K_START = b"\xff\xd8", b"\xff\x4f\xff\x51"
# End of the transfer syntax's UID (1.2.840.10008.1.2.4.x) -> the frame markers it may hold.
FRAME_MARKERS = {
    "50": (0xC0,), "51": (0xC0, 0xC1), "53": (0xC2,), "55": (0xC2,), "57": (0xC3,), "70": (0xC3,), "80": (0xF7,), "81": (0xF7,),
}  # fmt: skip
J2K_SYNTAXES = ("90", "91", "92", "93")
SYNTAX_ROOT = "1.2.840.10008.1.2.4."


def is_believable(packed: bytes, syntax: str, shape: tuple[int, int], allocated: int) -> bool:
    """Whether packed pixels are of the kind the transfer syntax names, of this (rows, columns), grey, and of no more bits than allocated."""
    kind = syntax.removeprefix(SYNTAX_ROOT)
    if kind in J2K_SYNTAXES:
        stated = _jpeg_2000(packed)
    elif kind in FRAME_MARKERS:
        stated = _jpeg(packed, FRAME_MARKERS[kind])
    else:
        return False
    if stated is None:
        return False
    rows, columns, components, bits = stated
    return (rows, columns) == shape and components == 1 and 2 <= bits <= min(allocated, 16)


def _jpeg_2000(packed: bytes) -> tuple[int, int, int, int] | None:
    """Rows, columns, components and bits by the SIZ marker, which follows the start."""
    at = packed.find(J2K_START, 0, 4096)
    if at < 0 or len(packed) < at + 43:
        return None
    columns, rows, left, top = struct.unpack_from(">4I", packed, at + 8)
    (components,) = struct.unpack_from(">H", packed, at + 40)
    return rows - top, columns - left, components, (packed[at + 42] & 0x7F) + 1


def _jpeg(packed: bytes, wanted: tuple[int, ...]) -> tuple[int, int, int, int] | None:
    """Rows, columns, components and bits by the one frame marker; None where it is missing, doubled or of another kind."""
    at, found = len(JPEG_START), None
    if not packed.startswith(JPEG_START):
        return None
    while at + 10 <= len(packed) and packed[at] == 0xFF:
        marker = packed[at + 1]
        if marker == 0xDA:  # The pixels begin.
            return found
        if marker == 0xF7 or (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)):
            if found or marker not in wanted:
                return None
            bits, rows, columns, components = struct.unpack_from(">BHHB", packed, at + 4)
            found = rows, columns, components, bits
        at += 1 if marker == 0xFF else 2 + int.from_bytes(packed[at + 2 : at + 4], "big")
    return None
