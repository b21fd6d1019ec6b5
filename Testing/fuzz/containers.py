"""Damage inside of what packs or frames other data, with lengths and checksums made right again, so that it reaches the readers behind."""

from __future__ import annotations

import gzip
import io
import json
import struct
import zipfile
import zlib
from random import Random
from typing import Any

import numpy as np

from fuzz.mutations import ODD_WHOLE, json_bytes, mutate_bytes, mutate_json, mutate_json_text, mutate_text

EXPLICIT, DEFLATED = b"1.2.840.10008.1.2.1", b"1.2.840.10008.1.2.1.99"
LONG_VRS = (b"OB", b"OD", b"OF", b"OL", b"OW", b"SQ", b"UC", b"UN", b"UR", b"UT")
SYNTAXES = (
    "1.2.840.10008.1.2",
    "1.2.840.10008.1.2.1",
    "1.2.840.10008.1.2.2",
    "1.2.840.10008.1.2.1.99",
    "1.2.840.10008.1.2.5",
    "1.2.3",
    "",
) + tuple(f"1.2.840.10008.1.2.4.{number}" for number in (50, 51, 57, 70, 80, 81, 90, 91, 100, 201))
ODD_VALUES = (
    *(b"", b"0", b"-1", b"1", b"1\\2", b"1\\2\\3", b"0\\0\\0", b"nan", b"inf\\inf\\inf", b"1e400", b"1e30\\1e30\\1e30", b"9" * 40, b"abc", b"\\\\\\"),
    *(b"CT", b"MR", b"LOCALIZER", b"MONOCHROME1", b"RGB", b"HU", b"US", b"1\\0\\0\\0\\1\\0", b"\xff\xfe", b"\0\0", b"x" * 300),
)  # fmt: skip
PIXEL_DATA, ITEM, SEQUENCE_END = b"\xe0\x7f\x10\0", b"\xfe\xff\0\xe0", b"\xfe\xff\xdd\xe0\0\0\0\0"
# Where the head of a packed frame ends: start of scan, or the style of coding.
JPEG_SCAN, J2K_STYLE = b"\xff\xda", b"\xff\x52"
Array = np.ndarray


def mutate_gzip(random: Random, data: bytes) -> bytes:
    """Damage before or after packing."""
    if random.random() < 0.3:
        return mutate_bytes(random, data)
    return gzip.compress(mutate_bytes(random, gzip.decompress(data)), 1, mtime=0)


def mutate_npz(random: Random, data: bytes) -> bytes:
    """An .npz file with another array, another head of an array, or other bytes."""
    if random.random() < 0.25:
        return mutate_bytes(random, data)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
        packing = archive.infolist()[0].compress_type
    name = random.choice(list(members))
    action = random.randrange(6)
    if action == 0:
        del members[name]
    elif action == 1:
        members[name] = mutate_bytes(random, members[name])
    elif action == 2:
        members[name] = _other_npy_head(random, members[name])
    elif action == 3:
        members[random.choice(("x.npy", "../x.npy", name.removesuffix(".npy")))] = members.pop(name)
    else:
        members[name] = _npy(_other_array(random, np.load(io.BytesIO(members[name]))))
    return _zip(members, packing)


def mutate_npz_facts(random: Random, data: bytes, name: str) -> bytes:
    """An .npz file with other facts in the array that holds the bytes of a JSON text."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {member: archive.read(member) for member in archive.namelist()}
    text = mutate_json_text(random, json.loads(np.load(io.BytesIO(members[f"{name}.npy"])).tobytes()))
    members[f"{name}.npy"] = _npy(np.frombuffer(text, np.uint8))
    return _zip(members, zipfile.ZIP_DEFLATED)


def _zip(members: dict[str, bytes], packing: int) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", packing) as archive:
        for member, content in members.items():
            archive.writestr(zipfile.ZipInfo(member), content, packing)
    return stream.getvalue()


def _npy(array: Array) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    return stream.getvalue()


def _other_npy_head(random: Random, data: bytes) -> bytes:
    """Another type or shape in the head of an array, of the right length."""
    length = int.from_bytes(data[8:10], "little")
    head = mutate_text(random, data[10 : 10 + length].rstrip()) + b"\n"
    return data[:8] + min(len(head), 65535).to_bytes(2, "little") + head[:65535] + data[10 + length :]


def _other_array(random: Random, array: Array) -> Array:
    """Another type, shape or value."""
    action = random.randrange(5)
    if action == 0:
        kinds = ("f4", "f8", "i1", "u2", "i8", ">i8", "c16", "U3", "S3", "M8[s]", "O", "?", "f2")
        with np.errstate(all="ignore"):
            return array.astype(random.choice(kinds))
    if action == 1 and array.ndim:
        return array[: random.randrange(len(array) + 1)]
    if action == 2:
        return random.choice(
            (
                array[None],
                array.reshape(-1),
                np.array(0),
                np.concatenate([array, array]) if array.ndim else array,
                array[..., None],
            )
        )
    changed = array.copy().reshape(-1)
    if changed.size:
        with np.errstate(all="ignore"):
            whole = np.array(random.choice(ODD_WHOLE) % 2**63 * random.choice((1, -1)), "i8").astype(changed.dtype)
            real = random.choice((np.nan, np.inf, -1.0, 1e300))
            changed[random.randrange(changed.size)] = real if changed.dtype.kind == "f" else whole
    return changed.reshape(array.shape)


def mutate_safetensors(random: Random, data: bytes, metadata_name: str) -> bytes:
    """Another header, another table of facts in it, or other tensors."""
    length = int.from_bytes(data[:8], "little")
    header, tensors = json.loads(data[8 : 8 + length]), data[8 + length :]
    action = random.random()
    if action < 0.1:
        return mutate_bytes(random, data[: 8 + length]) + tensors
    if action < 0.2:
        return data[:8] + mutate_bytes(random, data[8:])
    if action < 0.65:
        facts: Any = json.loads(header["__metadata__"][metadata_name])
        for _ in range(random.choice((1, 1, 2))):
            facts = mutate_json(random, facts)
        header["__metadata__"] = {metadata_name: json_bytes(facts).decode()}
    elif action < 0.85:
        header = mutate_json(random, header)
    else:
        name = random.choice([name for name in header if name != "__metadata__"])
        start = header[name]["data_offsets"][0]
        new = struct.pack("<f", random.choice((np.nan, np.inf, 1e30, -1.0)))
        tensors = tensors[:start] + new + tensors[start + len(new) :]
    text = json_bytes(header)
    return len(text).to_bytes(8, "little") + text + tensors


def mutate_dicom(random: Random, data: bytes, others: list[bytes]) -> bytes:
    """Another value, type, length or order of elements; other bytes inside of a deflated file, or anywhere."""
    if random.random() < 0.35 or data[128:132] != b"DICM":
        return mutate_bytes(random, data, others)
    meta_end = 132 + 12 + int.from_bytes(data[140:144], "little")
    meta, body = data[144:meta_end], data[meta_end:]
    is_deflated = DEFLATED in meta
    is_explicit = (
        is_deflated or EXPLICIT + b"\0" in meta or b"1.2.840.10008.1.2.4" in meta or b"1.2.840.10008.1.2.5" in meta
    )
    if random.random() < 0.1:
        meta = _mutate_elements(random, meta)
    else:
        body = zlib.decompress(body, -zlib.MAX_WBITS) if is_deflated else body
        body = _mutate_elements(random, body) if is_explicit and random.random() < 0.8 else mutate_bytes(random, body)
        if is_deflated:
            packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
            body = packer.compress(body) + packer.flush()
    return data[:140] + struct.pack("<I", len(meta)) + meta + body


def mutate_packed_frame(random: Random, data: bytes) -> bytes:
    """Other bytes behind the head of a packed frame: the decoder's own business, which no check of a head foresees."""
    meta_end = 144 + int.from_bytes(data[140:144], "little")
    elements = [
        (tag, vr, _with_other_body(random, value) if tag == PIXEL_DATA else value)
        for tag, vr, value in _elements(data[meta_end:])
    ]
    return data[:meta_end] + b"".join(_element(*element) for element in elements)


def _with_other_body(random: Random, items: bytes) -> bytes:
    """The one frame of encapsulated pixels, after an empty table of offsets, with the same head and another rest."""
    start = items.index(ITEM, len(ITEM)) + 8
    frame = items[start : start + int.from_bytes(items[start - 4 : start], "little")]
    end_of_head = max(frame.find(mark) for mark in (JPEG_SCAN, J2K_STYLE))
    body = mutate_bytes(random, frame[end_of_head:])
    frame = frame[:end_of_head] + body
    frame += b"\0" * (len(frame) % 2)
    return ITEM + bytes(4) + ITEM + struct.pack("<I", len(frame)) + frame + SEQUENCE_END


def _mutate_elements(random: Random, body: bytes) -> bytes:
    elements = _elements(body)
    for _ in range(random.choice((1, 1, 2, 3))):
        at = random.randrange(len(elements))
        tag, vr, value = elements[at]
        action = random.randrange(9)
        if action == 0:
            del elements[at]
        elif action == 1:
            elements.insert(random.randrange(len(elements) + 1), elements[at])
        elif action == 2:
            elements[at] = (
                tag,
                random.choice((*LONG_VRS, b"DS", b"IS", b"US", b"UL", b"CS", b"UI", b"LO", b"AT", b"FD", b"PN", b"ZZ")),
                value,
            )
        elif action == 3:
            elements[at] = (random.choice(elements)[0], vr, value)
        elif action == 4:
            elements[at] = (tag, vr, mutate_bytes(random, value))
        elif vr in (b"US", b"UL"):
            width = 2 if vr == b"US" else 4
            elements[at] = (tag, vr, (random.choice(ODD_WHOLE) % 256**width).to_bytes(width, "little"))
        elif vr == b"UI":
            elements[at] = (tag, vr, random.choice(SYNTAXES).encode())
        elif len(value) < 100:
            elements[at] = (tag, vr, random.choice(ODD_VALUES))
        elements = elements or [(tag, vr, value)]
    return b"".join(_element(*element) for element in elements)


def _elements(body: bytes) -> list[tuple[bytes, bytes, bytes]]:
    """Tag, type and value of the elements in explicit little endian; one of undefined length holds the rest."""
    elements, at = [], 0
    while at + 8 <= len(body):
        tag, vr = body[at : at + 4], body[at + 4 : at + 6]
        is_long = vr in LONG_VRS
        head = 12 if is_long else 8
        length = int.from_bytes(body[at + 8 : at + 12] if is_long else body[at + 6 : at + 8], "little")
        value = body[at + head : at + head + length]
        elements.append((tag, vr, value))
        at += head + len(value)
    return elements


def _element(tag: bytes, vr: bytes, value: bytes) -> bytes:
    value += b" " * (len(value) % 2)
    if vr not in LONG_VRS:
        return tag + vr + struct.pack("<H", len(value) & 0xFFFF) + value
    is_packed = tag == PIXEL_DATA and value.startswith(ITEM)
    return tag + vr + b"\0\0" + struct.pack("<I", 0xFFFFFFFF if is_packed else len(value)) + value
