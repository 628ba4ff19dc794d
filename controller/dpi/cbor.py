"""The text values at the top of a CBOR map (RFC 8949), read without building anything else.

Knows nothing of what they mean. No tag is interpreted and nothing is allocated by a length that the
data states, so hostile data costs its own size at most.
"""

from collections.abc import Iterator

from controller.dpi.message import Malformed

_DEPTH_AT_MOST = 64
_ITEMS_AT_MOST = 4096
_INDEFINITE = -1


def _wrong(what: str, offset: int) -> Malformed:
    return Malformed(f"cbor: {what} at offset {offset}")


def _head(data: bytes, at: int) -> tuple[int, int, int]:
    """Major type, argument (or _INDEFINITE) and what follows the head at `at` (section 3)."""
    if at >= len(data):
        raise _wrong("cut short", at)
    major, short = data[at] >> 5, data[at] & 31
    at += 1
    if short < 24:
        return major, short, at
    if short < 28:
        size = 1 << (short - 24)
        if at + size > len(data):
            raise _wrong("cut short", at)
        return major, int.from_bytes(data[at : at + size], "big"), at + size
    if short == 31 and major in (2, 3, 4, 5, 7):
        return major, _INDEFINITE, at
    raise _wrong("reserved additional information", at - 1)


def _skip(data: bytes, at: int, left: Iterator[int], depth: int = 0) -> int:
    """The offset behind the item at `at`; `left` counts down the items that there may be."""
    if not next(left, 0):
        raise _wrong(f"more than {_ITEMS_AT_MOST} items", at)
    if depth > _DEPTH_AT_MOST:
        raise _wrong("nested too deeply", at)
    start = at
    major, argument, at = _head(data, at)
    if major in (2, 3):
        if argument == _INDEFINITE:
            while data[at : at + 1] != b"\xff":
                if not next(left, 0):
                    raise _wrong(f"more than {_ITEMS_AT_MOST} items", at)
                inner, length, at = _head(data, at)
                if inner != major or length == _INDEFINITE:
                    raise _wrong("a string of wrong pieces", at)
                at += length
            return at + 1
        if at + argument > len(data):
            raise _wrong("cut short", at)
        return at + argument
    if major in (4, 5):
        if argument == _INDEFINITE:
            count = 0
            while data[at : at + 1] != b"\xff":
                at = _skip(data, at, left, depth + 1)
                count += 1
            if major == 5 and count % 2:
                raise _wrong("a map with a key without value", at)
            return at + 1
        for _ in range(argument * (major - 3)):
            at = _skip(data, at, left, depth + 1)
        return at
    if major == 6:
        return _skip(data, at, left, depth + 1)
    if major == 7 and argument == _INDEFINITE:
        raise _wrong("a break outside of anything", start)
    return at


def _text(data: bytes, at: int, left: Iterator[int]) -> tuple[str | None, int]:
    """The text at `at`, or None for another kind of item; and the offset behind it."""
    end = _skip(data, at, left)
    major, argument, at = _head(data, at)
    if major != 3:
        return None, end
    pieces = [data[at:end]]
    if argument == _INDEFINITE:
        pieces.clear()
        while data[at] != 0xFF:
            _, length, at = _head(data, at)
            pieces.append(data[at : at + length])
            at += length
    try:
        return b"".join(pieces).decode(), end
    except UnicodeDecodeError:
        raise _wrong("text that is not UTF-8", at) from None


def text_fields(data: bytes) -> dict[str, str | None]:
    """The fields of a map whose keys are text; None for a value that is not text.

    Raises Malformed, also for a key that is there twice or is no text (some libraries take bytes and
    numbers for names), and for bytes behind the map.
    """
    major, count, at = _head(data, 0)
    if major != 5:
        raise _wrong("no map", 0)
    fields: dict[str, str | None] = {}
    left = iter(range(_ITEMS_AT_MOST, 0, -1))
    while count and not (count == _INDEFINITE and data[at : at + 1] == b"\xff"):
        key, at = _text(data, at, left)
        value, at = _text(data, at, left)
        if key is None:
            raise _wrong("a key that is no text", at)
        if key in fields:
            raise _wrong(f"key {key[:40]!r} twice", at)
        fields[key] = value
        count -= count != _INDEFINITE
    if at + (count == _INDEFINITE) != len(data):
        raise _wrong("bytes behind the map", at)
    return fields
