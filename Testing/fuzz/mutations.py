"""Small damage to bytes, text and JSON. Every function draws from the generator it is given, so that a seed repeats it."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

ODD_WHOLE = (
    0,
    1,
    2,
    3,
    7,
    127,
    128,
    255,
    256,
    32767,
    32768,
    65535,
    65536,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**63 - 1,
    2**64 - 1,
)
ODD_REAL = (float("nan"), float("inf"), -float("inf"), 0.0, -0.0, -1.0, 1e-30, 1e30, 3e38, 5e9)
ODD_NUMBERS = (
    *("0", "-0", "1", "-1", "2", "3.5", "1e9", "1e400", "-1e400", "nan", "inf", "-inf", "1e-320", "0x10", "1_0", "1,5", "", "+", "9" * 400),
    *("65535", "65536", "2147483647", "2147483648", "4294967296", "18446744073709551616", "99999999999", "1" + "0" * 5000),
)  # fmt: skip
ODD_WORDS = (
    *("", " ", "LIST", "/dev/zero", "../secret.raw", "/etc/passwd", "ct%03d.raw 1 9 1", "C:\\x", "con", ".", "..", "none", "nan", "=1+1"),
    *("\0", "\ufeff", "\u00e9\u4e2d", "\u2212", '"', "'", "\\", ";", "\t", "x" * 300, "x" * 70_000, "\r", "\x1a", "(", ")", ":=", "NULL"),
)  # fmt: skip
DEEP = "@deep@"
DEPTH = 50_000
ODD_JSON: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2, 0.5, -0.0, 1e308, -1e308, 1e-320, 2**31, 2**63, 10**400, float("nan"), float("inf")),
    *("", "x", "1", "nan", "\0", "\ud800", "../x", "\u00e9", "x" * 10_000, DEEP, [], {}, [[]], [0] * 3000, {"x": 1}, [None], [True]),
)  # fmt: skip


def mutate_bytes(random: Random, data: bytes, others: Sequence[bytes] = ()) -> bytes:
    """One to four kinds of damage; `others` are files that parts may come from."""
    for _ in range(random.choice((1, 1, 1, 2, 3, 4))):
        data = random.choice(_BYTE_DAMAGE)(random, data, others)
    return data


def mutate_text(random: Random, data: bytes, others: Sequence[bytes] = ()) -> bytes:
    """Damage that keeps most of a text: other numbers, words and lines; now and then other bytes."""
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        if random.random() < 0.15:
            data = mutate_bytes(random, data, others)
        else:
            data = random.choice(_TEXT_DAMAGE)(random, data)
    return data


def mutate_json_text(random: Random, value: Any) -> bytes:
    """A JSON value with one or more nodes replaced, as text; now and then with damaged text."""
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        value = mutate_json(random, value)
    text = json_bytes(value)
    return mutate_text(random, text) if random.random() < 0.1 else text


def json_bytes(value: Any) -> bytes:
    """JSON as text; DEEP becomes brackets in one another."""
    return json.dumps(value).replace(f'"{DEEP}"', "[" * DEPTH + "]" * DEPTH).encode()


def mutate_json(random: Random, node: Any) -> Any:
    """The same value with one node replaced; what is not changed is shared with the original."""
    if isinstance(node, (dict, list)) and node and random.random() < 0.85:
        keys = list(node) if isinstance(node, dict) else range(len(node))
        key = random.choice(keys)
        copied = node.copy()
        copied[key] = mutate_json(random, node[key])
        return copied
    if isinstance(node, dict) and random.random() < 0.6:
        return _mutate_table(random, dict(node))
    if isinstance(node, list) and random.random() < 0.6:
        return _mutate_list(random, list(node))
    if type(node) in (int, float) and random.random() < 0.4:
        return random.choice((node + 1, -node, 1e6 if abs(node) > 1e9 else node * 1e6, 0.3, [node], str(node)))
    return random.choice(ODD_JSON)


def _mutate_table(random: Random, table: dict[str, Any]) -> dict[str, Any]:
    key = random.choice(list(table)) if table else "x"
    value = table.pop(key, 0)
    action = random.randrange(3)
    if action == 0:
        table[random.choice(("", "x", key.upper(), "\ud800", f"{key} "))] = value
    elif action == 1:
        table[key] = value
        table["unknown"] = random.choice(ODD_JSON)
    return table


def _mutate_list(random: Random, values: list[Any]) -> list[Any]:
    at = random.randrange(len(values) + 1)
    action = random.randrange(4)
    if action == 0:
        return values[:at]
    if action == 1:
        return values[:at] + [random.choice(ODD_JSON)] + values[at:]
    if action == 2:
        return values + values[at:]
    return values[:at] + values[at + 1 :]


def _place(random: Random, data: bytes) -> int:
    """A place, more often near the beginning, where headers are."""
    end = len(data) if random.random() < 0.5 else min(len(data), 1024)
    return random.randrange(end) if end else 0


def _flip_bit(random: Random, data: bytes, others: Sequence[bytes]) -> bytes:
    if not data:
        return data
    at = _place(random, data)
    return data[:at] + bytes([data[at] ^ (1 << random.randrange(8))]) + data[at + 1 :]


def _set_bytes(random: Random, data: bytes, others: Sequence[bytes]) -> bytes:
    at = _place(random, data)
    new = random.choice((b"\0", b"\xff", b"\x7f", b"\x80", b" ", random.randbytes(1))) * random.choice((1, 1, 2, 4, 8))
    return data[:at] + new + data[at + len(new) :]


def _set_whole(random: Random, data: bytes, others: Sequence[bytes]) -> bytes:
    width, order = random.choice((1, 2, 4, 8)), random.choice(("little", "big"))
    new = (random.choice(ODD_WHOLE) % 256**width).to_bytes(width, order)
    at = _place(random, data)
    return data[:at] + new + data[at + width :]


def _set_real(random: Random, data: bytes, others: Sequence[bytes]) -> bytes:
    new = struct.pack(random.choice(("<f", "<d", ">f", ">d")), random.choice(ODD_REAL))
    at = _place(random, data) // 4 * 4
    return data[:at] + new + data[at + len(new) :]


def _cut(random: Random, data: bytes, others: Sequence[bytes]) -> bytes:
    at = _place(random, data)
    return data[:at] + data[at + random.choice((1, 2, 4, 16, 128)) :]


def _cut_off(random: Random, data: bytes, others: Sequence[bytes]) -> bytes:
    return data[: random.randrange(len(data) + 1)]


def _repeat(random: Random, data: bytes, others: Sequence[bytes]) -> bytes:
    at, to = _place(random, data), _place(random, data)
    return data[:to] + data[at : at + random.choice((1, 4, 8, 32, 512))] + data[to:]


def _insert(random: Random, data: bytes, others: Sequence[bytes]) -> bytes:
    at = _place(random, data)
    return data[:at] + random.randbytes(random.choice((1, 2, 4, 9, 64))) + data[at:]


def _splice(random: Random, data: bytes, others: Sequence[bytes]) -> bytes:
    other = random.choice(others) if others else data
    at = _place(random, data)
    return data[:at] + other[random.choice((at, _place(random, other))) :]


def _other_digits(random: Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """Another number in the room of one that is written in digits."""
    found = list(re.finditer(rb"-?\d+(?:\.\d+)?", data[:4096]))
    if not found:
        return data
    match = random.choice(found)
    length = match.end() - match.start()
    new = random.choice(ODD_NUMBERS)[:length].encode().ljust(length)
    return data[: match.start()] + new + data[match.end() :]


_BYTE_DAMAGE: tuple[Callable[[Random, bytes, Sequence[bytes]], bytes], ...] = (
    _flip_bit, _flip_bit, _set_bytes, _set_whole, _set_whole, _set_real, _cut, _cut_off, _repeat, _insert, _splice, _other_digits, _other_digits,
)  # fmt: skip


def _replace_match(random: Random, data: bytes, pattern: bytes, choices: Sequence[str]) -> bytes:
    found = list(re.finditer(pattern, data[:20_000]))
    if not found:
        return data
    match = random.choice(found)
    return data[: match.start()] + random.choice(choices).encode() + data[match.end() :]


def _other_number(random: Random, data: bytes) -> bytes:
    return _replace_match(random, data, rb"-?\d+(?:\.\d+)?(?:e[+-]?\d+)?", ODD_NUMBERS)


def _other_word(random: Random, data: bytes) -> bytes:
    return _replace_match(random, data, rb"[\w./-]+", (*ODD_WORDS, *ODD_NUMBERS))


def _other_character(random: Random, data: bytes) -> bytes:
    at = random.randrange(len(data) + 1)
    return data[:at] + random.choice(ODD_WORDS).encode() + data[at + random.choice((0, 1)) :]


def _other_lines(random: Random, data: bytes) -> bytes:
    lines = data.split(b"\n")
    first, second = random.randrange(len(lines)), random.randrange(len(lines))
    action = random.randrange(4)
    if action == 0:
        lines[first], lines[second] = lines[second], lines[first]
    elif action == 1:
        del lines[first]
    elif action == 2:
        lines.insert(first, lines[second])
    else:
        lines = lines[:first]
    return b"\n".join(lines)


def _other_separators(random: Random, data: bytes) -> bytes:
    old, new = random.choice(
        ((b",", b";"), (b",", b"\t"), (b",", b"|"), (b"\n", b"\r\n"), (b"\n", b"\r"), (b" ", b"  "), (b":", b"="))
    )
    return data.replace(old, new, random.choice((1, -1)))


def _other_encoding(random: Random, data: bytes) -> bytes:
    return data.decode("latin-1").encode(random.choice(("utf-16", "utf-16-le", "utf-16-be", "utf-8-sig", "utf-32")))


_TEXT_DAMAGE: tuple[Callable[[Random, bytes], bytes], ...] = (
    _other_number, _other_number, _other_number, _other_word, _other_word, _other_character, _other_lines, _other_lines, _other_separators,
    _other_encoding,
)  # fmt: skip
