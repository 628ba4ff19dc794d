"""Text from the network as text that a database holds, and back without loss."""

import re

_ODD = re.compile("[\\\\\x00\ud800-\udfff]")
_ESCAPED = re.compile(r"\\(?:\\|u[0-9a-f]{4})")


def _escape(found: re.Match[str]) -> str:
    return "\\\\" if found[0] == "\\" else f"\\u{ord(found[0]):04x}"


def _unescape(found: re.Match[str]) -> str:
    return "\\" if found[0] == "\\\\" else chr(int(found[0].removeprefix("\\u"), base=16))


def escaped(value: str) -> str:
    """`value` as valid, readable UTF-8: what a database cannot hold is escaped with a backslash."""
    return _ODD.sub(_escape, value) if _ODD.search(value) else str(value)


def unescaped(value: str) -> str:
    return _ESCAPED.sub(_unescape, value) if "\\" in value else value
