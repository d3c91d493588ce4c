"""Where one value is not finite, another is not either: proofs for `annihilate`.

``select(x == 0 and isnan(x z), 0, x z)`` is ``x z`` if z is finite wherever x is. That is proved in
two steps. What makes x infinite or NaN by being so itself is collected, through sums and products:
`spoilers`. Supposing all that to be finite, `bounds` encloses z, by interval arithmetic in z's own
format, which rounding cannot leave because it is monotone (Moore, Interval Analysis, 1966).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from .editor import Editor

NEAR = 40       # statements that a search for spoilers looks at
DEPTH = 12      # statements in a row that bounds are found through
STEPS = 20_000  # of all proofs about one program together: then nothing more is proved
POWERS = 8      # factors that a product is taken apart into
MODERATE = 32   # binary exponents of the numbers in it, together
SHORT = 16      # a statement of fewer elements is not worth a proof
# What is not finite where any of these operands is not: by position.
SPOILED = {"add": (0, 1), "subtract": (0, 1), "multiply": (0, 1), "divide": (0,),
           **dict.fromkeys(("negative", "abs", "square", "sqrt", "log", "log2", "log10", "log1p",
                            "sin", "cos", "tan", "positive"), (0,))}


class Bounds(NamedTuple):
    """``low <= value <= high``, or NaN if ``nan`` says that it may be."""

    low: Any
    high: Any
    nan: bool = False


def finite_where(e: Editor, z: int, x: int) -> bool:
    """Whether every element of z is finite where that of x is."""
    if e.known(x).size < SHORT or e.known(z).dtype.kind != "f" or not spend(e, 0):
        return False
    found = bounds(e, z, spoilers(e, x), DEPTH)
    return found is not None and not found.nan and bool(np.isfinite([found.low, found.high]).all())


def spend(e: Editor, steps: int) -> bool:
    """Count steps of proofs; False when there were enough."""
    e.memo["proofs"] = e.memo.get("proofs", 0) + steps
    return e.memo["proofs"] < STEPS


def spoilers(e: Editor, x: int) -> set[int]:
    """Statements whose elements, where they are not finite, make those of x not finite either."""
    found, waiting = {x}, [x]
    while waiting and len(found) < NEAR:
        n = waiting.pop()
        s = e.statements[n]
        if n in e.numbers:
            continue
        if s.name == "elementwise":
            more = [s.inputs[k] for k in SPOILED.get(s.parameters[0], ())]
        elif s.name == "select":
            more = kept_factor(e, n)
        else:
            more = []
        waiting += [i for i in more if i not in found]
        found.update(more)
    spend(e, len(found))
    return found


def kept_factor(e: Editor, n: int) -> list[int]:
    """The x of ``select(x == 0 and ..., 0, x z)``: where it is not finite, it is not 0."""
    condition, _, product = e.statements[n].inputs
    if e.function(condition) != "logical_and" or e.function(product) != "multiply":
        return []
    for part in e.statements[condition].inputs:
        if e.function(part) == "equal":
            one, zero = e.statements[part].inputs
            if e.numbers.get(zero, 1) == 0 and one in e.statements[product].inputs:
                return [one]
    return []


def bounds(e: Editor, n: int, spared: set[int], depth: int) -> Bounds | None:
    """What encloses a statement where all ``spared`` ones are finite; None: nothing is known."""
    dtype = e.known(n).dtype
    if dtype.kind != "f" or not spend(e, 1):
        return None
    if n in e.numbers:
        v = dtype.type(e.numbers[n])
        return None if np.isnan(v) else Bounds(v, v)
    found = computed(e, n, spared, depth - 1) if depth else None
    if n not in spared:
        return found
    most = np.finfo(dtype).max
    low, high, _ = found or (-most, most, False)
    return Bounds(max(low, -most), min(high, most))


def computed(e: Editor, n: int, spared: set[int], depth: int) -> Bounds | None:
    """``bounds`` of a scalar function, from those of its operands."""
    s, function = e.statements[n], e.function(n)
    if function not in ENCLOSED:
        return None
    inner: list[Bounds] = []
    for i in s.inputs:
        found = bounds(e, i, spared, depth)
        if found is None or e.known(i).dtype != s.known.dtype:
            return None
        inner.append(found)
    if function == "multiply" and s.inputs[0] == s.inputs[1]:
        return squared(*inner[:1])
    with np.errstate(all="ignore"):
        found = ENCLOSED[function](*inner)
    if found is not None and found.nan and not any(x.nan for x in inner) and (
            alike(e, function, s.inputs, spared)):
        return found._replace(nan=False)
    return found


class Monomial(NamedTuple):
    """A product of one statement, finite, and of numbers: of their signs and binary exponents."""

    base: int
    odd: bool
    negative: bool
    exponents: float


def monomial(e: Editor, n: int, spared: set[int]) -> Monomial | None:
    """A statement as a power of a spared one, times numbers; None if it is no such."""
    bases: list[int] = []
    negative, exponents, waiting = False, 0.0, [n]
    while waiting:
        i = waiting.pop()
        if i in e.numbers:
            v = float(e.numbers[i])
            if not v or not np.isfinite(v):
                return None
            negative, exponents = negative ^ (v < 0), exponents + abs(float(np.log2(abs(v))))
        elif i in spared:
            bases.append(i)
        elif e.function(i) == "multiply" and len(bases) + len(waiting) < POWERS:
            waiting += e.statements[i].inputs
        else:
            return None
    if not bases or {*bases} != {bases[0]}:
        return None
    return Monomial(bases[0], len(bases) % 2 == 1, negative, exponents)


def alike(e: Editor, function: str, inputs: tuple[int, ...], spared: set[int]) -> bool:
    """Whether two operands are never infinite and 0, nor infinite with opposite signs.

    As powers of one number they overflow above 1 and vanish below it, or where it is 0; their signs
    are the same if both are odd powers, or both even ones.
    """
    if function not in {"multiply", "add"}:
        return False
    x, z = [monomial(e, i, spared) for i in inputs]
    if x is None or z is None or x.base != z.base or x.exponents + z.exponents > MODERATE:
        return False
    return function == "multiply" or (x.odd, x.negative) == (z.odd, z.negative)


def hull(*values: Any, nan: bool = False) -> Bounds:
    """The bounds of some values, where NaN stands for all numbers."""
    array = np.array(values)
    if np.isnan(array).any():
        return Bounds(array.dtype.type(-np.inf), array.dtype.type(np.inf), True)
    return Bounds(array.min(), array.max(), nan)


def added(x: Bounds, z: Bounds) -> Bounds:
    """The sum."""
    opposite = any(np.isinf(a.low) and np.isinf(b.high) for a, b in ((x, z), (z, x)))
    return hull(x.low + z.low, x.high + z.high, nan=x.nan or z.nan or opposite)


def negated(x: Bounds) -> Bounds:
    """The opposite."""
    return Bounds(-x.high, -x.low, x.nan)


def multiplied(x: Bounds, z: Bounds) -> Bounds:
    """The product: its extremes are at corners."""
    return hull(*[a * b for a in x[:2] for b in z[:2]], nan=x.nan or z.nan or any(
        a.low <= 0 <= a.high and np.isinf([b.low, b.high]).any() for a, b in ((x, z), (z, x))))


def squared(x: Bounds) -> Bounds:
    """The square."""
    with np.errstate(all="ignore"):
        most = max(x.low * x.low, x.high * x.high)
    return Bounds(type(most)(0), most, x.nan)


def divided(x: Bounds, z: Bounds) -> Bounds | None:
    """The quotient, if the divisor is finite and of one sign."""
    if not (z.low > 0 or z.high < 0) or np.isinf([z.low, z.high]).any():
        return None
    return hull(*[a / b for a in x[:2] for b in z[:2]], nan=x.nan or z.nan)


def within(low: float, high: float,
           from_infinite: bool = True) -> Callable[[Bounds], Bounds | None]:
    """A function whose values are between two numbers."""
    def enclosed(x: Bounds) -> Bounds | None:
        if not from_infinite and np.isinf([x.low, x.high]).any():
            return None
        kind = type(x.low)
        return Bounds(kind(low), kind(high), x.nan)
    return enclosed


def rising(f: Callable[[Any], Any], low: float = -np.inf) -> Callable[[Bounds], Bounds | None]:
    """A function that rises, from ``low`` on; its values may be rounded a few times."""
    def enclosed(x: Bounds) -> Bounds | None:
        if x.low < low:
            return None
        kind, ends = type(x.low), [f(v) for v in x[:2]]
        slack = [8 * np.finfo(kind).eps * abs(v) + np.finfo(kind).tiny if np.isfinite(v) else 0
                 for v in ends]
        return Bounds(kind(ends[0] - slack[0]), kind(ends[1] + slack[1]), x.nan)
    return enclosed


ENCLOSED: dict[str, Callable[..., Bounds | None]] = {
    "add": added, "subtract": lambda x, z: added(x, negated(z)), "negative": negated,
    "multiply": multiplied, "divide": divided,
    "reciprocal": lambda x: divided(Bounds(type(x.low)(1), type(x.low)(1)), x), "square": squared,
    "abs": lambda x: Bounds(type(x.low)(0), max(-x.low, x.high), x.nan),
    "tanh": within(-1, 1), "erf": within(-1, 1), "sigmoid": within(0, 1), "erfc": within(0, 2),
    "sin": within(-1.01, 1.01, from_infinite=False),
    "cos": within(-1.01, 1.01, from_infinite=False),
    "exp": rising(np.exp), "exp2": rising(np.exp2), "expm1": rising(np.expm1),
    "softplus": rising(lambda x: np.logaddexp(x, type(x)(0))),
    "log": rising(np.log, 0.0), "log2": rising(np.log2, 0.0), "log10": rising(np.log10, 0.0),
    "log1p": rising(np.log1p, -1.0), "sqrt": rising(np.sqrt, 0.0)}
