"""Logarithms of vectors, and the functions made of them: log1p, softplus.

``x = 2^k (1 + f)`` with ``1 + f`` from sqrt(1/2) to sqrt 2, and ``ln(1 + f) = 2 artanh(s)`` with
``s = f / (2 + f)``, summed as ``f - (f^2/2 - s (f^2/2 + R(s^2)))``: the large terms have no
rounding error. (The sum is that of fdlibm's logarithm.)
"""

from __future__ import annotations

from math import inf, nan, sqrt
from typing import NamedTuple

from . import intervals
from . import polynomials as table
from .exponentials import exp_below, small_as_is
from .lanes import (
    Pair,
    Value,
    exact_sum,
    multiply_add,
    ordered_sum,
    polynomial,
    times_constant,
    word,
)

# A subnormal number times 2^SCALE is normal.
SCALE = {"f32": 25, "f64": 54}
# From here on softplus x = x, and softplus -x = e^-x.
LINEAR = {"f32": 40.0, "f64": 100.0}


class Terms(NamedTuple):
    """``ln(1 + f) = f - (half - tail)``."""

    f: Value
    half: Value
    tail: Value


def exponent(x: Value, subnormal: bool = True) -> tuple[Value, Value, Value]:
    """``k`` and ``m`` of ``x = 2^k m`` for x > 0; and the biased k, an integer."""
    f, scale = x.format, SCALE[x.kind]
    offset = 2.0 ** f.mantissa + f.bias
    bits, less = x.bits, x.like(offset)
    if subnormal:
        small = x < f.smallest_normal
        bits = small.choose(x * 2.0 ** scale, x).bits
        less = small.choose(x.like(offset + scale), offset)
    root = word(x.kind, sqrt(0.5))
    moved = bits + ((f.bias << f.mantissa) - root)
    biased = moved >> f.mantissa
    # As the last digits of a large number the exponent needs no conversion.
    k = (biased | ((f.bias + f.mantissa) << f.mantissa)).number - less
    return k, ((moved & ((1 << f.mantissa) - 1)) + root).number, biased


def terms(f: Value) -> Terms:
    """The terms of ``ln(1 + f)``."""
    s = f / (f + 2.0)
    z = s * s
    half = (f * 0.5) * f
    return Terms(f, half, s * multiply_add(z, polynomial(z, table.LOG[f.kind]), half))


def of_positive(x: Value, y: Value) -> Value:
    """``y = log x`` for finite x > 0, and what a logarithm is elsewhere."""
    y = (x < inf).choose(y, x)  # infinite, or NaN
    return x.compare("ugt", 0.0).choose(y, x.compare("oeq", 0.0).choose(x.like(-inf), nan))


def log(x: Value) -> Value:
    """``ln x``."""
    if x.block.tables:
        return intervals.log(x)
    k, m, _ = exponent(x)
    t = terms(m - 1.0)
    high, low = table.LN2[x.kind]
    inner = t.half - multiply_add(k, low, t.tail)
    return of_positive(x, multiply_add(k, high, t.f - inner))


def log_of_mantissa(m: Value) -> Pair:
    """``ln m`` for m from sqrt(1/2) to sqrt 2, as a pair."""
    t = terms(m - 1.0)
    high, error = ordered_sum(t.f, -t.half)
    return ordered_sum(high, error + t.tail)


def to_base(high: Value, low: Value, inverse: tuple[float, ...]) -> Pair:
    """A pair times ``1 / ln b``."""
    product, error = times_constant(high, inverse)
    return product, multiply_add(low, inverse[0], error)


def log2(x: Value) -> Value:
    """``log2 x``: exact at powers of two."""
    if x.block.tables:
        return intervals.log2(x)
    k, m, _ = exponent(x)
    high, low = to_base(*log_of_mantissa(m), table.INVERSE_LN2[x.kind])
    y, error = ordered_sum(k, high)
    return of_positive(x, y + (error + low))


def log10(x: Value) -> Value:
    """``log10 x``."""
    if x.block.tables:
        return intervals.log10(x)
    k, m, _ = exponent(x)
    high, low = to_base(*log_of_mantissa(m), table.INVERSE_LN10[x.kind])
    a, b = table.LOG10_2[x.kind]
    y, error = ordered_sum(k * a, high)
    return of_positive(x, y + (error + multiply_add(k, b, low)))


def log1p_terms(x: Value, low: Value | None = None) -> tuple[Value, Value, Terms]:
    """``1 + x``, and ``ln(1 + x + low) = k ln 2 + f - (half - tail)``."""
    u, c = exact_sum(x.like(1.0), x)
    k, m, biased = exponent(u, subnormal=False)
    f = x.format
    shrink = ((x.bits.like(2 * f.bias + 1) - biased) << f.mantissa).number  # 2^(1-k); 0 at the top
    part, rest = ordered_sum(m - 1.0, (c * 0.5) * shrink)
    if low is not None:
        rest = multiply_add(low * 0.5, shrink, rest)
    t = terms(part)
    slope = multiply_add(part, part * 0.8 - 1.0, 1.0)  # 1 / (1 + f), good enough for a rounding
    return u, k, Terms(part, t.half, multiply_add(rest, slope, t.tail))


def log1p(x: Value) -> Value:
    """``ln(1 + x)``."""
    if x.block.tables and x.kind == "f32":
        return of_positive(*intervals.log1p(x))
    u, k, t = log1p_terms(x)
    high, low = table.LN2[x.kind]
    inner = t.half - multiply_add(k, low, t.tail)
    return small_as_is(x, of_positive(u, multiply_add(k, high, t.f - inner)))


def softplus(x: Value) -> Value:
    """``max(x, 0) + ln(1 + e^-a)`` for a = abs x."""
    e, low = exp_below(-abs(x))
    _, k, t = log1p_terms(e, low)
    a, b = table.LN2[x.kind]
    first, error = ordered_sum(k * a, t.f)
    rest = (error + multiply_add(k, b, t.tail)) - t.half
    y, error = exact_sum((x > 0.0).choose(x, 0.0), first)
    y = (x > LINEAR[x.kind]).choose(x, y + (error + rest))
    return (x < -LINEAR[x.kind]).choose(e, y)


def log_sigmoid(x: Value) -> Value:
    """``-softplus(-x)``; the difference from 0 gives +0 at infinity."""
    return 0.0 - softplus(-x)
