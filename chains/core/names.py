"""Names of files as people and as JSON may see them.

Inside Strata a file name is the `str` that `os.fsdecode` gives: bytes that are not UTF-8 are kept
as lone surrogates (PEP 383), so the name still opens the file. Such a string can be neither printed
nor stored as it is; these two functions make it fit to leave the process.
"""

import re

_SURROGATE = re.compile("[\ud800-\udfff]")
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
# Letters, marks and symbols that are drawn as nothing, or as a blank, in most fonts. What Python
# calls not printable (controls, bidi overrides, separators, surrogates, what is not assigned) need
# not be named.
_BLANK = frozenset(
    "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0"
    + "".join(map(chr, (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))))  # variation selectors
)


def display(name: str) -> str:
    """Make a file name fit for a page, a diagram or a log: one line, nothing hidden, nothing lost.

    Bytes that are not UTF-8 read `\\xNN`; newlines, control, bidi and zero-width characters, spaces
    other than the plain one and what Unicode has not assigned read as escapes. Quotes, `<>{}|` and
    emoji stay: escaping for a format is the renderer's work.
    """
    if name.isprintable() and _BLANK.isdisjoint(name):
        return name
    return "".join(map(_visible, name))


def brief(name: str, limit: int = 160) -> str:
    """Do the same for a sentence: of a name longer than `limit` the middle is left out."""
    shown = display(name)
    if len(shown) <= limit:
        return shown
    return f"{shown[: limit // 2]}…{shown[-(limit // 2) :]}"


def portable(name: str) -> str:
    """Make a file name fit for JSON: bytes that are not UTF-8 read `\\xNN`, all else is unchanged.

    The result can always be encoded as UTF-8.
    """
    return _SURROGATE.sub(lambda match: _escape_surrogate(match[0]), name)


def _visible(char: str) -> str:
    if char in _SHORT:
        return _SHORT[char]
    if char.isprintable() and char not in _BLANK:
        return char
    code = ord(char)
    if 0xD800 <= code <= 0xDFFF:
        return _escape_surrogate(char)
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def _escape_surrogate(char: str) -> str:
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    return f"\\u{code:04x}"
