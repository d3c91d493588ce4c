"""Text: what may stand in a picture, and how wide it is, without a font at hand.

Widths are those of DejaVu Sans, in hundredths of the font size. Verdana has nearly the same ones
and other common sans-serif fonts are narrower, so a text never leaves the room measured for it.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

FONTS = ("DejaVu Sans", "Verdana", "Geneva", "sans-serif")
LEADING = 1.32  # distance of two lines of text, in font sizes
SMALL = 0.74  # size of subscripts and superscripts
ASCII = [  # from the blank to the tilde: regular, bold
    32, 40, 46, 84, 64, 95, 78, 27, 39, 39, 50, 84, 32, 36, 32, 34, 64, 64, 64, 64, 64, 64, 64, 64,
    64, 64, 34, 34, 84, 84, 84, 53, 100, 68, 69, 70, 77, 63, 58, 77, 75, 29, 29, 66, 56, 86, 75, 79,
    60, 79, 69, 63, 61, 73, 68, 99, 69, 61, 69, 39, 34, 39, 84, 50, 50, 61, 63, 55, 63, 62, 35, 63,
    63, 28, 28, 58, 28, 97, 63, 61, 63, 63, 41, 52, 39, 63, 59, 82, 59, 59, 52, 64, 34, 64, 84]
BOLD = [
    35, 46, 52, 84, 70, 100, 87, 31, 46, 46, 52, 84, 38, 42, 38, 37, 70, 70, 70, 70, 70, 70, 70, 70,
    70, 70, 40, 40, 84, 84, 84, 58, 100, 77, 76, 73, 83, 68, 68, 82, 84, 37, 37, 77, 64, 100, 84,
    85, 73, 85, 77, 72, 68, 81, 77, 110, 77, 72, 73, 46, 37, 46, 84, 50, 50, 67, 72, 59, 72, 68, 44,
    72, 71, 34, 34, 67, 34, 104, 71, 69, 72, 72, 49, 60, 48, 71, 65, 92, 65, 65, 58, 71, 37, 71, 84]
OTHERS = {"\u00b7": 38, "\u2202": 54, "\u2032": 26, "\u2033": 45, "\u2026": 100, "\u22ef": 100,
          "\u03c9": 87, "\u2208": 90, "\u2218": 63, "\u221a": 67}
GREEK, MATHS, CYRILLIC, WIDE, LETTER = 80, 86, 122, 120, 82

RAISED = dict(zip("\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079\u207a\u207b\u207d"
                  "\u207e\u1d40\u207f", "0123456789+\u2212()Tn", strict=True))
LOWERED = dict(zip("\u2080\u2081\u2082\u2083\u2084\u2085\u2086\u2087\u2088\u2089\u208a\u208b\u208d"
                   "\u208e\u1d62\u2c7c\u2096\u2099\u2098\u209c",
                   "0123456789+\u2212()ijknmt", strict=True))


@dataclass(frozen=True)
class Run:
    """A piece of a line in one size: ``level`` is 0, -1 for a subscript, 1 for a superscript."""

    text: str
    level: int = 0


def visible(text: str) -> str:
    r"""``text`` without anything that cannot be seen: ``\n``, ``\x00``, ``\u202e`` are spelled out.

    More than two combining signs on one letter are left out: they would paint over their
    neighbours.

    >>> from adjoint.drawing.text import visible
    >>> print(visible("a\nb\x00"))
    a\nb\x00
    """
    if text.isascii() and text.isprintable():
        return text
    out: list[str] = []
    signs = 0
    for c in unicodedata.normalize("NFC", text):
        signs = signs + 1 if unicodedata.category(c) in {"Mn", "Me"} else 0
        if c.isprintable() and signs <= 2:
            out.append(c)
        elif not signs:
            out.append("\\n" if c == "\n" else "\\t" if c == "\t" else
                       c.encode("unicode_escape", "surrogatepass").decode())
    return "".join(out)


def runs_of(text: str) -> list[Run]:
    """``text`` in pieces of one level; subscript digits of Unicode become lowered digits."""
    if text.isascii():
        return [Run(text)] if text else []
    runs: list[Run] = []
    for c in text:
        level = 1 if c in RAISED else -1 if c in LOWERED else 0
        plain = RAISED.get(c) or LOWERED.get(c) or c
        if runs and runs[-1].level == level:
            runs[-1] = Run(runs[-1].text + plain, level)
        else:
            runs.append(Run(plain, level))
    return runs


def letter_width(c: str, bold: bool = False) -> float:
    """The width of one letter, in hundredths of the font size; never too small."""
    n = ord(c)
    if 32 <= n < 127:
        return (BOLD if bold else ASCII)[n - 32]
    if c in OTHERS:
        return OTHERS[c]
    if unicodedata.combining(c) or unicodedata.category(c) in {"Mn", "Me"}:
        return 0
    if unicodedata.east_asian_width(c) in {"W", "F"} or n >= 0x1F000:
        return WIDE
    if n < 0x370:
        base = unicodedata.normalize("NFD", c)[0]
        return letter_width(base, bold) if base != c else LETTER
    return GREEK if n < 0x400 else CYRILLIC if n < 0x1E00 else MATHS


def width_of(text: str, size: float, bold: bool = False) -> float:
    """The width of a line of (visible) text at a font size."""
    total = sum(sum(letter_width(c, bold) for c in run.text) * (SMALL if run.level else 1)
                for run in runs_of(text))
    return total * size / 100


def shortened(text: str, limit: int = 44) -> str:
    """``text``, with its middle left out if it has more than ``limit`` letters.

    >>> from adjoint.drawing.text import shortened
    >>> shortened("a" * 30 + "b" * 30, 9)
    'aaaa…bbbb'
    """
    if len(text) <= limit:
        return text
    half = (limit - 1) // 2
    return f"{text[:limit - 1 - half]}…{text[len(text) - half:]}"
