"""How a value is printed: one formatter for every table, page and picture.

Three decimals by default, as on a slide, or ``digits`` significant ones. What is printed never
misleads: trailing zeros are left away only if nothing was rounded (``5.5``, but ``1.000`` for
0.9999999), a number that three decimals would show as 0.000 is written ``1.000e-09``, and NaN,
infinities and -0.0 stay visible. An array of at most `SMALL` elements is printed in full, a larger
one as shape, smallest and largest element and the count of those that are not finite.
"""

from __future__ import annotations

import math
import re
from decimal import Decimal
from typing import Any

import numpy as np

from adjoint.core.box import Box
from adjoint.errors import ArgumentError

SMALL = 6
SCIENTIFIC = re.compile(r"(?<![\w.])(-?\d(?:\.\d*)?)e([+-])0*(\d+)(?![\w.])")
DECIMAL = re.compile(r"-?\d+(\.\d*)?")
LONGEST = 64  # bits of an integer that is written in full
PRINTABLE = 10_000  # bits of an integer that Python writes in decimal (its limit is 4300 digits)


def check_digits(digits: int | None) -> None:
    """Raises ArgumentError if ``digits`` is no number of significant digits."""
    if digits is None:
        return
    if isinstance(digits, bool) or not isinstance(digits, int) or not 1 <= digits <= 17:
        raise ArgumentError(f"digits={digits!r}: a float has 1 to 17 significant digits; write "
                            "digits=6, or digits=None for three decimals")


def check_count(name: str, given: Any, usual: int) -> None:
    """Raises ArgumentError if ``given`` is not how many of something are shown at most."""
    if given is not None and (
            isinstance(given, bool) or not isinstance(given, int) or given < 1):
        raise ArgumentError(f"{name}={given!r}: write how many {name} to show at most, such as "
                            f"{name}={usual}, or {name}=None for all")


def unboxed(value: Any) -> Any:
    """The array or number in a Tensor, Dual or Batch; anything else as it is."""
    while isinstance(value, Box) and hasattr(value, "value"):
        value = value.value
    return value


def real(x: float, digits: int | None = None) -> str:
    """A float with three decimals, or ``digits`` significant ones."""
    if not math.isfinite(x) or x == 0:
        return f"{x:g}"
    if digits is not None:
        text = f"{x:.{digits}g}"
        return text if float(text) == x else f"{x:#.{digits}g}".removesuffix(".")
    if not 1e-3 <= abs(x) < 1e7:
        return f"{x:.3e}"
    text = f"{x:.3f}"
    return text.rstrip("0").rstrip(".") if float(text) == x else text


def number(x: Any, digits: int | None = None) -> str:
    """A number of any kind; what is no number as `str` writes it."""
    if isinstance(x, (bool, np.bool_)):
        return str(bool(x))
    if isinstance(x, (int, np.integer)):
        if int(x).bit_length() <= LONGEST:
            return str(int(x))
        return f"{Decimal(int(x)):.{(digits or 4) - 1}e}"
    if isinstance(x, (complex, np.complexfloating)):
        z = complex(x)
        imaginary = real(z.imag, digits)
        return real(z.real, digits) + ("" if imaginary[0] == "-" else "+") + imaginary + "j"
    if isinstance(x, (float, np.floating)):
        return real(float(x), digits)
    return str(x)


def shown(value: Any, digits: int | None = None, *, whole: bool = False,
          lines: bool = False) -> str:
    """A value as a table prints it: a number, an array, several in a row (None among them is 0).

    Args:
        value: A number, array, Tensor, text, None (nothing) or a tuple of these.
        digits: Significant digits; None for three decimals.
        whole: Whether a large array is printed in full as well.
        lines: Whether a matrix that is printed in full has a line for each row.

    Raises ArgumentError for digits that are none.

    >>> from adjoint.show.numbers import shown
    >>> shown(0.6931471805599453), shown(5.5), shown(1e-9), shown(0.9999999)
    ('0.693', '5.5', '1.000e-09', '1.000')
    >>> shown(0.6931471805599453, digits=6), shown(-0.0), shown(float("inf"))
    ('0.693147', '-0', 'inf')
    >>> shown(np.array([1.0, 1e-9])), shown(np.arange(12.0).reshape(4, 3))
    ('[1. 1.000e-09]', '(4, 3) min 0 max 11')
    """
    check_digits(digits)
    value = unboxed(value)
    if value is None:
        return ""
    if isinstance(value, (tuple, list)):
        parts = ("0" if v is None else shown(v, digits, whole=whole) for v in value)
        return "(" + ", ".join(parts) + ")"
    if isinstance(value, np.ndarray):
        return array(value, digits, whole=whole, lines=lines)
    return number(value, digits)


def in_full(value: np.ndarray, *, whole: bool) -> bool:
    """Whether an array is printed element by element."""
    return value.size > 0 and (whole or (value.size <= SMALL and value.ndim <= 2))


def array(value: np.ndarray, digits: int | None, *, whole: bool, lines: bool) -> str:
    """An array in brackets, or in short."""
    if not value.ndim:
        return number(value.item(), digits)
    if not in_full(value, whole=whole):
        return summary(value, digits)
    texts = [element(x, digits) for x in value.ravel().tolist()]
    width = max(map(len, texts)) if lines and value.ndim > 1 else 0
    return brackets(np.array([t.rjust(width) for t in texts], dtype=object).reshape(value.shape),
                    "\n" if lines else " ")


def element(x: Any, digits: int | None) -> str:
    """A number among others: ``1.`` is a float, ``1`` an integer, as NumPy writes them."""
    text = number(x, digits)
    return text + "." if isinstance(x, float) and text.lstrip("-").isdigit() else text


def brackets(texts: np.ndarray, between: str) -> str:
    """Nested brackets around texts; ``between`` stands between rows."""
    if texts.ndim == 1:
        return "[" + " ".join(texts) + "]"
    if between == "\n":
        inner = [brackets(t, "\n").replace("\n", "\n ") for t in texts]
        return "[" + "\n ".join(inner) + "]"
    return "[" + " ".join(brackets(t, between) for t in texts) + "]"


def summary(value: np.ndarray, digits: int | None) -> str:
    """An array in short: ``(3, 2) min -1.2 max 3.4, 1 nan``."""
    shape = str(value.shape)
    if not value.size:
        return f"{shape} empty"
    if value.dtype.kind == "b":
        return f"{shape} {int(value.sum())} True, {int(value.size - value.sum())} False"
    if value.dtype.kind not in "iufc":
        return f"{shape} of {value.dtype}"
    finite = np.isfinite(value)
    good = value[finite]
    sizes, of = (np.abs(good), "|x| ") if value.dtype.kind == "c" else (good, "")
    said = [f"{shape} {of}{extent(sizes, digits)}"] if good.size else [shape]
    nans, others = int(np.isnan(value).sum()), int((~finite).sum())
    said += [f"{nans} nan"] if nans else []
    said += [f"{others - nans} inf"] if others > nans else []
    return ", ".join(said)


def extent(values: np.ndarray, digits: int | None) -> str:
    """The smallest and the largest of some numbers."""
    low, high = values.min().item(), values.max().item()
    if low == high:
        return f"all {number(low, digits)}"
    return f"min {number(low, digits)} max {number(high, digits)}"


def finite(value: Any) -> bool:
    """Whether no NaN and no infinity is in a value; true of what is no number."""
    value = unboxed(value)
    if isinstance(value, (tuple, list)):
        return all(map(finite, value))
    if isinstance(value, (float, complex, np.ndarray, np.generic)):
        held = np.asarray(value)
        return held.dtype.kind not in "fc" or bool(np.isfinite(held).all())
    return True


def exact(value: Any) -> Any:
    """A value as strict JSON holds it, nothing rounded.

    Arrays are nested lists; NaN and infinities, which JSON lacks, are the texts that `float` reads
    ("NaN", "Infinity", "-Infinity"), a complex number is the text that `complex` reads.

    >>> from adjoint.show.numbers import exact
    >>> exact(np.array([[1.0, np.nan]])), exact(1 + 2j), exact(np.float32(0.5))
    ([[1.0, 'NaN']], '(1+2j)', 0.5)
    """
    value = unboxed(value)
    if isinstance(value, (np.ndarray, np.generic)):
        if value.dtype.char in "gG" or value.dtype.kind not in "OiufcbU":
            return value.astype(str).tolist()  # what Python's own numbers cannot hold
        return exact(value.tolist())
    if isinstance(value, (tuple, list)):
        return [exact(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, int) and not isinstance(value, bool):
        return value if value.bit_length() <= PRINTABLE else hex(value)
    return value if value is None or isinstance(value, (bool, float, str)) else str(value)
