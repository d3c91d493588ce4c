"""The closed table of scalar functions as LLVM IR: a column of ``maths.py``.

A function is found by its name and the kind of number its NumPy loop runs on. One that is not here
(an integer power, whose negative exponents are an error; the gamma family) runs by call.
"""

from __future__ import annotations

import math
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from adjoint.ops.declare import dtype_of

from .maths import MATHS
from .registers import BOOL
from .text import is_native
from .vector_maths import FUNCTIONS

if TYPE_CHECKING:
    from collections.abc import Callable

    from .registers import Lanes

    Column = dict[str, Callable[..., str]]

FORMULAS = {*FUNCTIONS} - {"maximum", "minimum", "relu"}  # which are one instruction or two
# What the C library calls them. This is the one place that the compiled programs reach it from.
LIBRARY = {
    "exp": "exp", "exp2": "exp2", "expm1": "expm1", "log": "log", "log2": "log2",
    "log10": "log10", "log1p": "log1p", "sin": "sin", "cos": "cos", "tan": "tan",
    "arcsin": "asin", "arccos": "acos", "arctan": "atan", "sinh": "sinh", "cosh": "cosh",
    "tanh": "tanh", "arcsinh": "asinh", "arccosh": "acosh", "arctanh": "atanh", "cbrt": "cbrt",
    "erf": "erf", "erfc": "erfc", "power": "pow", "arctan2": "atan2", "hypot": "hypot",
    "fmod": "fmod"}
# Those made of many instructions, for which one value spans fewer registers.
CURVED = {*LIBRARY, "remainder", "floor_divide", "logaddexp", "logaddexp2", "sigmoid",
          "log_sigmoid", "softplus"}
DECAYING = {"sigmoid", "log_sigmoid", "softplus"}
COMPARISONS = ("less", "less_equal", "greater", "greater_equal", "equal", "not_equal")


def curve(name: str, at: Lanes, *xs: str) -> str:
    """A transcendental function: our own formula, or the C library's function."""
    if name in FORMULAS:
        return at.formula(name, *xs)
    return at.library(LIBRARY[name], *xs)


# ---- of every kind

def same(at: Lanes, x: str) -> str:
    """The operand."""
    return x


def zero(at: Lanes, x: str) -> str:
    """0, such as the imaginary part."""
    return at.constant(0)


def compared(name: str, at: Lanes, x: str, z: str) -> str:
    """A comparison."""
    return at.compare(name, x, z)


def bitwise(instruction: str, at: Lanes, x: str, z: str) -> str:
    """One instruction on bits."""
    return at.binary(instruction, x, z)


def logical(instruction: str, at: Lanes, x: str, z: str) -> str:
    """One instruction on truth values."""
    return at.of(BOOL).binary(instruction, at.truth(x), at.truth(z))


def not_truth(at: Lanes, x: str) -> str:
    """Whether it is 0."""
    return at.of(BOOL).invert(at.truth(x))


def always(answer: bool, at: Lanes, x: str) -> str:
    """What is known of every integer."""
    return at.of(BOOL).constant(answer)


def square(at: Lanes, x: str) -> str:
    """The square."""
    return at.multiply(x, x)


def relu(at: Lanes, x: str) -> str:
    """max(x, 0)."""
    return at.maximum(x, at.constant(0))


def method(name: str, at: Lanes, *xs: str) -> str:
    """An operation that `Lanes` has."""
    return getattr(at, name)(*xs)


def intrinsic(name: str, at: Lanes, *xs: str) -> str:
    """A function that LLVM has."""
    return at.intrinsic(name, *xs)


# ---- of floats

def reciprocal(at: Lanes, x: str) -> str:
    """1 / x."""
    return at.divide(at.constant(1), x)


def sign(at: Lanes, x: str) -> str:
    """-1, 0 or 1; NaN of NaN."""
    low = at.select(at.compare("less", x, at.constant(0)), at.constant(-1), at.constant(0))
    y = at.select(at.compare("greater", x, at.constant(0)), at.constant(1), low)
    return at.select(at.unordered(x), x, y) if at.floating else y


def isfinite(at: Lanes, x: str) -> str:
    """Whether |x| < inf."""
    return at.compare("less", at.intrinsic("fabs", x), at.constant(math.inf))


def isinf(at: Lanes, x: str) -> str:
    """Whether |x| = inf."""
    return at.compare("equal", at.intrinsic("fabs", x), at.constant(math.inf))


def isnan(at: Lanes, x: str) -> str:
    """Whether x is NaN."""
    return at.unordered(x)


def signbit(at: Lanes, x: str) -> str:
    """Whether the sign is set, of -0 and NaN too."""
    whole = at.of(np.dtype(f"i{at.dtype.itemsize}"))
    bits = at.put(f"bitcast {at.type} {x} to {whole.type}")
    return whole.compare("less", bits, whole.constant(0))


def modulus(at: Lanes, x: str, z: str) -> str:
    """What floor division leaves: of the sign of z."""
    rest = curve("fmod", at, x, z)
    zero_ = at.constant(0)
    truth = at.of(BOOL)
    differ = truth.binary("xor", at.compare("less", rest, zero_), at.compare("less", z, zero_))
    moved = at.select(differ, at.add(rest, z), rest)
    y = at.select(at.compare("equal", rest, zero_), at.intrinsic("copysign", zero_, z), moved)
    return at.select(at.compare("equal", z, zero_), rest, y)


def float_floor_divide(at: Lanes, x: str, z: str) -> str:
    """floor(x / z), from the exact remainder: never one too large."""
    rest, zero_ = curve("fmod", at, x, z), at.constant(0)
    quotient = at.divide(at.subtract(x, rest), z)
    truth = at.of(BOOL)
    differ = truth.binary("xor", at.compare("less", rest, zero_), at.compare("less", z, zero_))
    lower = truth.binary("and", differ, at.compare("not_equal", rest, zero_))
    quotient = at.select(lower, at.subtract(quotient, at.constant(1)), quotient)
    down = at.intrinsic("floor", quotient)
    near = at.compare("greater", at.subtract(quotient, down), at.constant(0.5))
    down = at.select(near, at.add(down, at.constant(1)), down)
    plain = at.divide(x, z)
    down = at.select(at.compare("equal", quotient, zero_),
                     at.intrinsic("copysign", zero_, plain), down)
    return at.select(at.compare("equal", z, zero_), plain, down)


def log_sum(exponential: str, scale: float, at: Lanes, x: str, z: str) -> str:
    """log(b^x + b^z) as the larger plus log(1 + b^-|x - z|); equal infinities are themselves."""
    difference = at.subtract(x, z)
    small = curve(exponential, at, at.negative(at.intrinsic("fabs", difference)))
    more = curve("log1p", at, small)
    if scale != 1.0:
        more = at.multiply(more, at.constant(scale))
    larger = at.select(at.compare("greater", difference, at.constant(0)), x, z)
    y = at.select(at.unordered(difference), difference, at.add(larger, more))
    doubled = at.add(x, at.constant(1.0 if scale != 1.0 else math.log(2.0)))
    return at.select(at.compare("equal", x, z), doubled, y)


# ---- of integers, whose division by 0 gives 0, and by -1 wraps

def floor_quotient(at: Lanes, x: str, z: str, part: str) -> str:
    """Floor division or its remainder, without the divisors that a processor refuses."""
    refused = none = at.compare("equal", z, at.constant(0))
    minus = at.compare("equal", z, at.constant(-1)) if at.signed else ""
    if minus:
        refused = at.of(BOOL).binary("or", none, minus)
    safe = at.select(refused, at.constant(1), z)
    y = at.divide(x, safe) if part == "quotient" else at.rest(x, safe)
    if at.signed and part != "rest":
        rest = y if part == "modulus" else at.rest(x, safe)
        differ = at.compare("less", at.binary("xor", rest, safe), at.constant(0))
        lower = at.of(BOOL).binary("and", differ, at.truth(rest))
        moved = at.add(y, safe) if part == "modulus" else at.subtract(y, at.constant(1))
        y = at.select(lower, moved, y)
    if minus:
        y = at.select(minus, at.negative(x) if part == "quotient" else at.constant(0), y)
    return at.select(none, at.constant(0), y)


def whole_floor_divide(at: Lanes, x: str, z: str) -> str:
    """floor(x / z)."""
    return floor_quotient(at, x, z, "quotient")


def whole_remainder(at: Lanes, x: str, z: str) -> str:
    """What floor division leaves: x - z floor(x / z)."""
    return floor_quotient(at, x, z, "modulus")


def whole_fmod(at: Lanes, x: str, z: str) -> str:
    """What the quotient towards 0 leaves."""
    return floor_quotient(at, x, z, "rest")


def whole_abs(at: Lanes, x: str) -> str:
    """|x|; the smallest integer stays itself."""
    if not at.signed:
        return x
    return at.select(at.compare("less", x, at.constant(0)), at.negative(x), x)


COMMON: Column = {
    "positive": same, "conjugate": same, "real": same, "imag": zero, "logical_not": not_truth,
    "maximum": partial(method, "maximum"), "minimum": partial(method, "minimum"),
    "add": partial(method, "add"), "multiply": partial(method, "multiply"),
    **{name: partial(compared, name) for name in COMPARISONS},
    **{f"logical_{name}": partial(logical, name) for name in ("and", "or", "xor")}}
NUMBER: Column = {
    **COMMON, "negative": partial(method, "negative"), "subtract": partial(method, "subtract"),
    "square": square, "relu": relu, "sign": sign}
BITS: Column = {
    **{f"bitwise_{name}": partial(bitwise, name) for name in ("and", "or", "xor")},
    "invert": partial(method, "invert"), "isfinite": partial(always, True),
    "isnan": partial(always, False), "isinf": partial(always, False),
    "floor": same, "ceil": same, "trunc": same}
FLOAT: Column = {
    **NUMBER, **{name: partial(curve, name) for name in LIBRARY},
    **{name: partial(intrinsic, name) for name in ("floor", "ceil", "trunc", "rint", "sqrt",
                                                   "copysign")},
    "abs": partial(intrinsic, "fabs"), "reciprocal": reciprocal, "isfinite": isfinite,
    "isinf": isinf, "isnan": isnan, "signbit": signbit, "divide": partial(method, "divide"),
    "remainder": modulus, "floor_divide": float_floor_divide,
    "logaddexp": partial(log_sum, "exp", 1.0),
    "logaddexp2": partial(log_sum, "exp2", 1.0 / math.log(2.0)),
    **{name: partial(curve, name) for name in DECAYING}}
INTEGER: Column = {
    **NUMBER, **BITS, "abs": whole_abs, "floor_divide": whole_floor_divide,
    "remainder": whole_remainder, "fmod": whole_fmod}
TRUTH: Column = {**COMMON, **BITS, "abs": same}
COLUMNS = {"f": FLOAT, "i": INTEGER, "u": INTEGER, "b": TRUTH}


@cache
def loop_dtype(function: str, dtype: Any) -> Any:
    """The dtype that NumPy's loop of a function runs on; None if it has none."""
    if function in {"real", "imag", "relu"}:
        return dtype
    scalar = MATHS[function]
    try:
        if not isinstance(scalar.numpy, np.ufunc):  # the library's own: of floats
            return dtype_of(scalar.numpy, dtype)
        found = scalar.numpy.resolve_dtypes((*[dtype] * scalar.arity, None))
    except TypeError:
        return None
    return found[0] if len({*found[:-1]}) == 1 else None


def written(function: str, dtype: Any) -> Callable[..., str] | None:
    """What writes a function of operands of ``dtype``; None if it runs by call."""
    if not is_native(dtype):
        return None
    inner = loop_dtype(function, dtype)
    if inner is None or not is_native(inner):
        return None
    if dtype.kind == "u" and function in DECAYING:  # whose definition negates before it casts
        return None
    return column(function, dtype).get(function)


def column(function: str, dtype: Any) -> Column:
    """The functions of the kind of numbers that a function's loop runs on."""
    return COLUMNS[loop_dtype(function, dtype).kind]
