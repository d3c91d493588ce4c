"""Sine, cosine and tangent of vectors.

``x = n pi/2 + r`` with pi/2 in parts, so that n times a part is exact up to 2^20 (Cody and Waite,
1980); r is a pair. What lies beyond 2^20 goes through the C library, lane by lane, and only if a
lane needs it. float32 is computed in float64, its sine and cosine by ``x = n pi + r``.

A scalar below pi/4, which is its own rest, goes a shorter way to the same bits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from . import polynomials as table
from .lanes import (
    Pair,
    Value,
    by_pairs,
    exact_product,
    exact_sum,
    literal,
    multiply_add,
    ordered_sum,
    quotient,
    word,
)

if TYPE_CHECKING:
    from collections.abc import Callable

FAR = 2.0 ** 20
NEAR = 0.785  # below pi/4: n is 0
ONE_OVER_PI, TWO_OVER_PI = 0.3183098861837907, 0.6366197723675814


class Angle(NamedTuple):
    """``a = n pi/2 + high + low``; the bits of n are those of ``quadrant``.

    ``low`` is None where it does not count. ``z = high^2``, ``square = z^2``.
    """

    quadrant: Value
    high: Value
    low: Value | None
    z: Value
    square: Value


def rest(quadrant: Value, high: Value, low: Value | None) -> Angle:
    """An Angle."""
    z = high * high
    return Angle(quadrant, high, low, z, z * z)


def angle(a: Value, single: bool) -> Angle:
    """The angle's quadrant and what is left; a float32 (``single``) needs no second term.

    What is left of the first part is exact: below 1, and a multiple of what both terms are
    multiples of. A processor that rounds once takes 53 digits with it.
    """
    shifted = multiply_add(a, TWO_OVER_PI, a.format.shift)
    n = shifted - a.format.shift
    first, second, third, fourth = table.HALF_PI["f64"]
    if single:
        return rest(shifted.bits, multiply_add(n, -second, multiply_add(n, -first, a)), None)
    if a.block.fused:
        first, second, third = table.HALF_PI_FUSED["f64"]
        r, more = multiply_add(n, -first, a), n * -second
        y = r + more
        part = y - r
        return rest(shifted.bits, y, (r - (y - part)) + multiply_add(n, -third, more - part))
    r, low = exact_sum(multiply_add(n, -first, a), n * -second)
    r, lower = exact_sum(r, n * -third)
    return rest(shifted.bits, *ordered_sum(r, low + (lower + n * -fourth)))


def times_polynomial(t: Angle, factor: Value, c: tuple[float, ...]) -> Value:
    """``factor (c0 + c1 z + ...)``: early what is large, and little after what comes late."""
    return multiply_add(factor * t.square, by_pairs(t.z, t.square, c[2:]),
                        factor * multiply_add(t.z, c[1], c[0]))


def sine(t: Angle, kind: str) -> Pair:
    """The sine of the rest."""
    y = times_polynomial(t, t.high * t.z, table.SIN[kind])
    return t.high, y if t.low is None else multiply_add(1.0 - t.z * 0.5, t.low, y)


def cosine(t: Angle, kind: str) -> Pair:
    """The cosine of the rest."""
    half, y = t.z * 0.5, times_polynomial(t, t.square, table.COS[kind])
    if kind == "f32":
        return 1.0 - half, y
    one, error = ordered_sum(half.like(1.0), -half)
    return one, (error if t.low is None else multiply_add(-t.high, t.low, error)) + y


def parts(x: Value) -> tuple[Angle, Pair, Pair]:
    """The angle of abs x, its sine and its cosine, in float64."""
    a = abs(x if x.kind == "f64" else x.convert("fpext", "f64"))
    t = angle(a, single=x.kind == "f32")
    return t, sine(t, x.kind), cosine(t, x.kind)


def signed(y: Value, sign: Value, like: Value) -> Value:
    """``y`` with its sign turned where bit 63 of ``sign`` is set, in the kind of ``like``."""
    y = (y.bits ^ sign).number
    return y if like.kind == "f64" else y.convert("fptrunc", like.kind)


def sign_of(x: Value) -> Value:
    """The sign of x as bit 63."""
    bits = x.bits if x.kind == "f64" else x.convert("fpext", "f64").bits
    return bits & (1 << 63)


def is_odd(n: Value) -> Value:
    """Whether an integer is odd."""
    return (n & 1).compare("ne", 0)


def sin(x: Value) -> Value:
    """``sin x``."""
    if x.kind == "f32":
        return library(x, half_turns(x, 0.0), "sin")
    return short_way(x, sine, long_sin)


def long_sin(x: Value) -> Value:
    """``sin x`` in float64, whatever x is."""
    t, s, c = parts(x)
    y = is_odd(t.quadrant).choose(c[0] + c[1], s[0] + s[1])
    return library(x, signed(y, (t.quadrant & 2) << 62 ^ sign_of(x), x), "sin")


def cos(x: Value) -> Value:
    """``cos x``."""
    if x.kind == "f32":
        return library(x, half_turns(x, 0.5), "cos")
    return short_way(x, cosine, long_cos)


def long_cos(x: Value) -> Value:
    """``cos x`` in float64, whatever x is."""
    t, s, c = parts(x)
    y = is_odd(t.quadrant).choose(s[0] + s[1], c[0] + c[1])
    return library(x, signed(y, ((t.quadrant + 1) & 2) << 62, x), "cos")


def short_way(x: Value, near: Callable[[Angle, str], Pair],
              formula: Callable[[Value], Value]) -> Value:
    """``formula(x)``; of a scalar below pi/4 only ``near``, but for 0, whose sign would be lost."""
    block = x.block
    if block.lanes > 1:
        return formula(x)
    short, long, join = [block.fresh()[1:] for _ in range(3)]
    bits = (x.bits << 1) - 1  # without the sign, and 0 above all others
    truth = bits.compare("ult", (word("f64", NEAR) << 1) - 1)
    block.lines += [f"  br i1 {truth.name}, label %{short}, label %{long}", f"{short}:"]
    high, low = near(rest(bits, x, None), "f64")
    y = high + low
    block.lines += [f"  br label %{join}", f"{long}:"]
    block.label = long
    z = formula(x)
    block.lines += [f"  br label %{join}", f"{join}:"]
    end, block.label = block.label, join
    return block.emit("f64", f"phi double [{y.name}, %{short}], [{z.name}, %{end}]")


def half_turns(x: Value, more: float) -> Value:
    """``sin x`` of a float32, or cos x, where ``more`` is 1/2: ``x = (n + more) pi + r``."""
    a = x.convert("fpext", "f64")
    shifted = multiply_add(a, ONE_OVER_PI, -more if more else a.format.shift)
    if more:
        shifted = shifted + a.format.shift
    n = shifted - a.format.shift
    if more:
        n = n + more
    first, second = table.PI["f64"]
    r = multiply_add(n, -second, multiply_add(n, -first, a))
    z = r * r
    y = r * by_pairs(z, z * z, (1.0, *table.SIN_WIDE["f32"]))
    return signed(y, (shifted.bits + 1 if more else shifted.bits) << 63, x)


def exacter(t: Angle, s: Pair, c: Pair) -> tuple[Pair, Pair]:
    """The sine and the cosine with what rounding z and z times high has taken from them.

    To first order: ``- (high^3) / 6`` and, about pi/4, where it counts, ``- 0.45 z``.
    """
    _, square = exact_product(t.high, t.high)
    _, cube = exact_product(t.high, t.z)
    return ((s[0], multiply_add(multiply_add(t.high, square, cube), -1.0 / 6.0, s[1])),
            (c[0], multiply_add(square, -0.45, c[1])))


def tan(x: Value) -> Value:
    """``tan x``: the quotient of the two pairs, turned over and negative in odd quadrants."""
    t, s, c = parts(x)
    odd = is_odd(t.quadrant)
    if x.kind == "f64":
        s, c = exacter(t, s, c)
    s, c = ordered_sum(*s), ordered_sum(*c)
    upper = odd.choose(c[0], s[0]), odd.choose(c[1], s[1])
    lower = odd.choose(s[0], c[0]), odd.choose(s[1], c[1])
    y = quotient(upper, lower) if x.kind == "f64" else upper[0] / lower[0]
    return library(x, signed(y, t.quadrant << 63 ^ sign_of(x), x), "tan")


def library(x: Value, near: Value, name: str) -> Value:
    """``near``, but what the C library gives in the lanes beyond 2^20; a branch skips it."""
    block = x.block
    far = abs(x).compare("ogt", FAR)
    some = far.name
    if block.lanes > 1:
        whole = block.fresh()
        block.lines.append(f"  {whole} = bitcast {far.type} {far.name} to i{block.lanes}")
        some = block.fresh()
        block.lines.append(f"  {some} = icmp ne i{block.lanes} {whole}, 0")
    before, call, after = block.label, block.fresh()[1:], block.fresh()[1:]
    block.lines += [f"  br i1 {some}, label %{call}, label %{after}", f"{call}:"]
    helper = f"{name}_far_{x.kind}_{block.lanes}"
    block.helpers[helper] = one_by_one(helper, name, x)
    block.declarations[f"declare double @{name}(double)"] = None
    block.declarations[f"declare {x.format.name} @llvm.fabs.{x.kind}({x.format.name})"] = None
    y = block.emit(x.kind, f"call {x.type} @{helper}({x.type} {x.name}, {near.type} {near.name})")
    block.lines += [f"  br label %{after}", f"{after}:"]
    block.label = after
    return block.emit(x.kind, f"phi {x.type} [{near.name}, %{before}], [{y.name}, %{call}]")


ONE_BY_ONE = """\
define internal {V} @{helper}({V} %x, {V} %near) noinline #0 {{
entry:
  %xs = alloca {V}
  %ys = alloca {V}
  store {V} %x, ptr %xs
  store {V} %near, ptr %ys
  br label %lane
lane:
  %i = phi i32 [0, %entry], [%j, %next]
  %p = getelementptr {T}, ptr %xs, i32 %i
  %v = load {T}, ptr %p
  %a = call {T} @llvm.fabs.{kind}({T} %v)
  %far = fcmp ogt {T} %a, {FAR}
  br i1 %far, label %call, label %next
call:
{body}
  %q = getelementptr {T}, ptr %ys, i32 %i
  store {T} %y, ptr %q
  br label %next
next:
  %j = add i32 %i, 1
  %more = icmp ult i32 %j, {lanes}
  br i1 %more, label %lane, label %done
done:
  %result = load {V}, ptr %ys
  ret {V} %result
}}
"""


def one_by_one(helper: str, name: str, x: Value) -> str:
    """A function that calls the C library for each lane beyond 2^20."""
    body = f"  %y = call double @{name}(double %v)"
    if x.kind == "f32":
        body = (f"  %w = fpext float %v to double\n  %u = call double @{name}(double %w)\n"
                "  %y = fptrunc double %u to float")
    return ONE_BY_ONE.format(V=x.type, T=x.format.name, kind=x.kind, helper=helper, body=body,
                             FAR=literal(x.kind, FAR), lanes=x.block.lanes)
