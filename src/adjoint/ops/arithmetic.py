"""Arithmetic and powers: one statement per operation.

A vjp stands written out where a literal or a shared quotient beats the derived one; the adjoint
test holds it to the jvp, which is derived from the partials.
"""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np

from adjoint.core.box import Box
from adjoint.core.careful import has_nan
from adjoint.core.node import aval, aval_of, float64, ndarray
from adjoint.core.primitive import PUBLIC, Label

from . import loops
from .cases import array_cases, elementwise_cases
from .complexes import conjugate, real
from .declare import (
    arrayed,
    batch_elementwise,
    broadcast_shape,
    constant,
    dtype_of,
    elementwise,
    function,
    general,
    kind_of,
    promoted,
    total,
)
from .ranges import RANGE, chosen

NONZERO = (0.5, 3.0)

add = elementwise(
    "add", np.add, 1, 1, label=Label("{0} + {1}", "{0} + {1}", ("1", "1"), "sum rule", "++"),
    numpy=[np.add], scalar=operator.add,
    vjp=lambda dy, y, x, z, needs: (dy if needs[0] else None, dy if needs[1] else None),
    doc="""The sum, element by element.

        y = x + z,    dy/dx = 1,    dy/dz = 1

    >>> ad.add(2.0, [1.0, 2.0])
    array([3., 4.])
    """)
subtract = elementwise(
    "subtract", np.subtract, 1, -1, label=Label("{0} - {1}", "{0} - {1}", ("1", "-1"),
                                                "difference rule", "++"),
    numpy=[np.subtract], scalar=operator.sub,
    vjp=lambda dy, y, x, z, needs: (dy if needs[0] else None, -dy if needs[1] else None),
    doc="""The difference, element by element.

        y = x - z,    dy/dx = 1,    dy/dz = -1

    >>> ad.subtract(2.0, [1.0, 2.0])
    array([1., 0.])
    """)


def _multiply_vjp(dy: Any, y: Any, x: Any, z: Any, needs: Any) -> tuple[Any, Any]:
    """Times the other factor; for a number next to an array, a dot product at once."""
    alone = dy.__class__ is not ndarray
    return ((dy * z if alone or x.__class__ is not float64 else _contracted(dy, z))
            if needs[0] else None,
            (dy * x if alone or z.__class__ is not float64 else _contracted(dy, x))
            if needs[1] else None)


def _contracted(dy: Any, z: Any) -> Any:
    """The sum of ``dy * z``, in one pass where the shapes are equal."""
    if z.__class__ is not ndarray or dy.shape != z.shape:
        return dy * z
    return dy.dot(z) if dy.ndim == 1 else dy.ravel().dot(z.ravel())


def _multiply_where_zero_wins(downstream: Any, x: Any, z: Any) -> Any:
    """Whichever stands downstream; if both do (in a product of products), each may be the zero."""
    if all(downstream):
        return PUBLIC["where"](PUBLIC["equal"](x, 0), annihilate(x, z), annihilate(z, x))
    return annihilate(x, z) if downstream[0] else annihilate(z, x)


multiply = elementwise(
    "multiply", np.multiply, lambda y, x, z: z, lambda y, x, z: x, numpy=[np.multiply],
    label=Label("{0} * {1}", r"{0}\,{1}", ("{1}", "{0}"),
                "product rule; constant factor; constant factor", "**"), scalar=operator.mul,
    vjp=_multiply_vjp,
    zero_wins=_multiply_where_zero_wins,
    doc="""The product, element by element.

        y = x z,    dy/dx = z,    dy/dz = x

    >>> ad.multiply(2.0, [1.0, 2.0])
    array([2., 4.])
    """)


def _inverse(z: Any) -> Any:
    """1 / z, infinite at Python's 0.0 too, where Python itself raises."""
    return math.copysign(math.inf, z) if z.__class__ in (float, int) and z == 0 else 1.0 / z


def _divide_vjp(dy: Any, y: Any, x: Any, z: Any, needs: Any) -> tuple[Any, Any]:
    """dy/dx = 1/z and dy/dz = -y/z share dy/z, unless that left the range."""
    before = RANGE.left
    dx = dy / z
    if not needs[1]:
        return dx, None
    dz = -(dx * y)
    if RANGE.left is not before:
        q = y / z
        dz = chosen(q, dy * -q, dz)
    return dx if needs[0] else None, dz


def _divide_where_zero_wins(downstream: Any, x: Any, z: Any) -> Any:
    """A product only where the zero stands: elsewhere 1 / z may overflow where x / z does not."""
    if not downstream[0]:
        return annihilate(_inverse(z), x)
    zero = PUBLIC["equal"](x, 0)
    return PUBLIC["where"](zero, annihilate(x, _inverse(z)), x / PUBLIC["where"](zero, 1.0, z))


divide = elementwise(
    "divide", np.true_divide, lambda y, x, z: _inverse(z), lambda y, x, z: -(y / z),
    numpy=[np.true_divide], label=Label("{0} / {1}", r"\frac{{{0}}}{{{1}}}",
                                        (r"\frac{{1}}{{{1}}}", r"-\frac{{{y}}}{{{1}}}"),
                                        "quotient rule; constant factor; reciprocal rule", "*^"),
    singular=True, domain=((-2.0, 2.0), NONZERO), scalar=operator.truediv, vjp=_divide_vjp,
    zero_wins=_divide_where_zero_wins, keeps=frozenset({"y", 1}),
    singular_at=[(1.0, 0.0), (0.0, 0.0)],
    doc="""The quotient, element by element.

        y = x / z,    dy/dx = 1 / z,    dy/dz = -x / z^2

    >>> ad.divide([1.0, 3.0], 2.0)
    array([0.5, 1.5])
    """)
negative = elementwise(
    "negative", np.negative, -1, label=Label("-{0}", "-{0}", ("-1",), "constant factor", "++"),
    numpy=[np.negative], scalar=operator.neg,
    doc="""The negative.

        y = -x,    dy/dx = -1

    >>> ad.negative([1.0, -2.0])
    array([-1.,  2.])
    """)
positive = elementwise(
    "positive", np.positive, 1, label=Label("+{0}", "{0}", ("1",), "identity", "+ "),
    numpy=[np.positive], scalar=operator.pos,
    doc="""A copy: y = x.

    >>> ad.positive([1.0, -2.0])
    array([ 1., -2.])
    """)


def _log_of_base(x: Any, dtype: Any) -> Any:
    """Natural log of x > 0; 0 at 0, where 0**z is flat; NaN below, where x**z is not real.

    In the dtype of the power: that of a Python number, or of an integer, would be float64.
    """
    from .exponential import log
    from .select import where
    y = log(where(x == 0, 1.0, x))
    return y if y.dtype == dtype else astype(y, dtype)


def _power_impl(x: Any, z: Any) -> Any:
    kinds = (float, int, complex)  # Python would give a number of its own, or an error
    if x.__class__ in kinds or z.__class__ is complex:
        return np.power(x, z)
    return operator.pow(x, z)


def _power_slope(y: Any, x: Any, z: Any) -> Any:
    """The partial z x^(z - 1); 0 where z is."""
    if z.__class__ in (float, int) and z != 0:
        return z * x ** (z - 1)
    return annihilate(z, x ** (z - 1))


def _along_base(d: Any, x: Any, z: Any) -> Any:
    """``d z x^(z - 1)``, by halves of the power where that left the range and the rest may not."""
    before = RANGE.left
    usual = d * _power_slope(None, x, z)
    if RANGE.left is before or aval_of(usual).dtype.kind == "c":
        return usual
    positive = PUBLIC["logical_and"](x > 0, z != 0)
    half = PUBLIC["where"](positive, x, 1.0) ** (0.5 * (z - 1))
    return PUBLIC["where"](positive, chosen(half, d * z * half * half, usual), usual)


def _along_exponent(d: Any, y: Any, x: Any, z: Any) -> Any:
    """``d y ln x``; where y left the range ``x ln x`` times x^(z - 1), whose slopes may not."""
    usual = d * _log_of_base(x, aval_of(y).dtype) * y
    value = y
    while isinstance(value, Box):
        value = value.value
    if not isinstance(x, Box) or value is None or value.dtype.kind == "c":
        return usual
    ends = np.finfo(value.dtype)
    if ((value >= ends.tiny) & (value <= ends.max)).all():
        return usual
    left = PUBLIC["logical_or"](y < ends.tiny, y > ends.max)
    left = PUBLIC["logical_and"](PUBLIC["greater"](x, 0), left)
    base = PUBLIC["where"](left, x, 1.0)
    return PUBLIC["where"](left, d * PUBLIC["xlogy"](base, base) * base ** (z - 1), usual)


def _power_vjp(dy: Any, y: Any, x: Any, z: Any, needs: Any) -> tuple[Any, Any]:
    return (_along_base(dy, x, z) if needs[0] else None,
            _along_exponent(dy, y, x, z) if needs[1] else None)


def _power_jvp(dxs: Any, y: Any, x: Any, z: Any) -> Any:
    dx, dz = dxs
    return total([None if dx is None else _along_base(dx, x, z),
                  None if dz is None else _along_exponent(dz, y, x, z)])


power = elementwise(
    "power", _power_impl, _power_slope,
    lambda y, x, z: y * _log_of_base(x, y.dtype), vjp=_power_vjp, jvp=_power_jvp, numpy=[np.power],
    label=Label("{0} ^ {1}", "{0}^{{{1}}}", (r"{1}\,{0}^{{{1} - 1}}", r"{y}\,\ln({0})"),
                "power rule; power rule; chain rule for the exponential", "^^"),
    singular=True, domain=((0.5, 2.0), (-2.0, 2.0)), scalar=math.pow,
    cases=elementwise_cases(((0.5, 2.0), (-2.0, 2.0)), (), [(0.0, 0.5), (0.0, 0.0), (0.0, 2.0)]),
    doc="""The power, element by element.

        y = x^z,    dy/dx = z x^(z - 1),    dy/dz = y ln x

    Where 0 meets a limit the convention is the useful one: at x = z = 0 both partials are 0, and
    0^z is flat in z. For x < 0 dy/dz is NaN, because x^z is not real next to an integer z.

    >>> ad.power([1.0, 2.0, 3.0], 2)
    array([1., 4., 9.])
    """)
square = elementwise(
    "square", np.square, lambda y, x: 2.0 * x, numpy=[np.square],
    label=Label("{0}^2", "{0}^2", (r"2\,{0}",), "power rule", "^^"), scalar=lambda x: x * x,
    doc="""The square.

        y = x^2,    dy/dx = 2 x

    >>> ad.square([1.0, -3.0])
    array([1., 9.])
    """)
sqrt = elementwise(
    "sqrt", np.sqrt, lambda y, x: 0.5 / y, numpy=[np.sqrt], singular=True, scalar=math.sqrt,
    label=Label("sqrt({0})", r"\sqrt{{{0}}}", (r"\frac{{1}}{{2\,{y}}}",), "power rule"),
    domain=NONZERO, singular_at=[(0.0,)],
    doc="""The square root; its derivative at 0 is infinite.

        y = x^(1/2),    dy/dx = 1 / (2 y)

    >>> ad.sqrt([1.0, 4.0])
    array([1., 2.])
    """)
cbrt = elementwise(
    "cbrt", np.cbrt, lambda y, x: 1.0 / (3.0 * y * y), numpy=[np.cbrt], singular=True,
    label=Label("cbrt({0})", r"\sqrt[3]{{{0}}}", (r"\frac{{1}}{{3\,{y}^2}}",), "power rule"),
    domain=NONZERO, singular_at=[(0.0,)], scalar=getattr(math, "cbrt", None),
    doc="""The real cube root.

        y = x^(1/3),    dy/dx = 1 / (3 y^2)

    >>> ad.cbrt([1.0, -8.0])
    array([ 1., -2.])
    """)
def _along(dy: Any, y: Any) -> Any:
    """-y^2 dy, where y^2 alone may leave the range."""
    return -(dy * y * y)


reciprocal = elementwise(
    "reciprocal", np.reciprocal, lambda y, x: -(y * y), numpy=[np.reciprocal], singular=True,
    jvp=lambda dxs, y, x: None if dxs[0] is None else _along(dxs[0], y),
    vjp=lambda dy, y, x, needs: (_along(dy, y),),
    label=Label("1 / {0}", r"\frac{{1}}{{{0}}}", (r"-{y}^2",), "reciprocal rule", "*^"),
    domain=NONZERO, singular_at=[(0.0,)], scalar=lambda x: 1.0 / x,
    doc="""The reciprocal.

        y = 1 / x,    dy/dx = -1 / x^2

    >>> ad.reciprocal([1.0, 4.0])
    array([1.  , 0.25])
    """)


def _unit(x: Any) -> Any:
    """The conjugate of the direction of a complex x, 0 at 0; it moves with x."""
    size = absolute(x)
    return conjugate(x) / PUBLIC["where"](size == 0, 1.0, size)


def _abs_vjp(dy: Any, y: Any, x: Any, needs: Any) -> tuple[Any]:
    return (dy * (_unit(x) if x.dtype.kind == "c" else _sign(x)),)


def _abs_jvp(dxs: Any, y: Any, x: Any) -> Any:
    (dx,) = dxs
    if dx is None:
        return None
    return real(dx * _unit(x)) if aval_of(x).dtype.kind == "c" else dx * _sign(x)


absolute = elementwise(
    "abs", np.absolute, lambda y, x: _sign(x), vjp=_abs_vjp, jvp=_abs_jvp, numpy=[np.absolute],
    scalar=abs,
    label=Label("|{0}|", r"\left|{0}\right|", (r"\mathrm{{sign}}({0})",),
                "chain rule for the absolute value",
                pullbacks=(r"{dy} \odot \overline{{\mathrm{{sign}}({0})}}",)),
    domain=(0.1, 2.0), kinks=[(0.0,)], kink=lambda x: np.equal(x, 0),
    doc="""The absolute value; its derivative at 0 is taken to be 0.

        y = |x|,    dy/dx = sign x

    Of a complex x it is the length, whose gradient is x / |x|.

    >>> ad.abs([-1.5, 2.0])
    array([1.5, 2. ])
    """)
_sign = constant("sign", np.sign, 1, kink=lambda x: np.equal(x, 0),
                 label=Label("sign({0})", r"\mathrm{{sign}}({0})"))


@function(np.sign)
def sign(x: Any) -> Any:
    """-1, 0 or 1; its derivative is 0 wherever it has one.

    Of a complex x it is the direction x / |x| (0 at 0), which has one.

    >>> ad.sign([-1.5, 0.0, 2.0])
    array([-1.,  0.,  1.])
    """
    return conjugate(_unit(x)) if aval_of(x).dtype.kind == "c" else _sign(x)


floor_divide = constant(
    "floor_divide", np.floor_divide, 2, numpy=[np.floor_divide], domain=((-2.0, 2.0), NONZERO),
    kink=lambda x, z: np.equal(np.remainder(x, z), 0),
    label=Label("floor({0} / {1})", r"\left\lfloor \frac{{{0}}}{{{1}}} \right\rfloor"),
    doc="""The quotient rounded down: constant between its jumps.

    >>> ad.floor_divide([5.0, 7.0], 2.0)
    array([2., 3.])
    """)
remainder = elementwise(
    "remainder", np.remainder, 1, lambda y, x, z: -floor_divide(x, z),
    numpy=[np.remainder], domain=((0.1, 0.9), (1.0, 2.5)), kinks=[(3.0, 3.0)],
    kink=lambda x, z: np.equal(np.remainder(x, z), 0),
    label=Label("mod({0}, {1})", r"\mathrm{{mod}}({0}, {1})",
                ("1", r"-\left\lfloor \frac{{{0}}}{{{1}}} \right\rfloor"), "remainder"),
    doc="""What floor division leaves, with the sign of the divisor.

        y = x - z floor(x / z),    dy/dx = 1,    dy/dz = -floor(x / z)

    >>> ad.remainder([5.0, -1.0], 3.0)
    array([2., 2.])
    """)


# ---- 0 * inf = 0, if the 0 stands downstream (DESIGN 6)

def _annihilate_impl(first: Any, second: Any) -> Any:
    with np.errstate(invalid="ignore"):
        y = np.multiply(first, second)
        with np.errstate(over="ignore"):
            if not has_nan(y):
                return y
    return np.where(np.equal(first, 0) & ~np.isfinite(second), y.dtype.type(0), y)[()]


def _annihilate_vjp(dy: Any, y: Any, first: Any, second: Any, needs: Any) -> tuple[Any, Any]:
    return (annihilate(dy, second) if needs[0] else None,
            annihilate(first, dy) if needs[1] else None)


def _annihilate_jvp(dxs: Any, y: Any, first: Any, second: Any) -> Any:
    dfirst, dsecond = dxs
    return total([None if dfirst is None else annihilate(dfirst, second),
                  None if dsecond is None else annihilate(first, dsecond)])


def _annihilate_where_zero_wins(downstream: Any, first: Any, second: Any) -> Any:
    """The zero of a factor further downstream than both wins too."""
    return _multiply_where_zero_wins((True, downstream[1]), first, second)


def _annihilate_lower(b: Any, first: Any, second: Any) -> Any:
    dtype = promoted(first, second)
    first, second = loops.aligned(b, [loops.cast(b, x, dtype) for x in (first, second)])
    y = b.elementwise("multiply", first, second)
    zero = loops.broadcast(b, b.const(dtype.type(0)), y.shape)
    is_zero = b.elementwise("equal", first, zero)
    # 0 times a number is NaN just where that number is not finite: one test instead of three.
    lost = b.elementwise("isnan", y) if dtype.kind == "f" else b.elementwise(
        "logical_not", b.elementwise("isfinite", second))
    return b.select(b.elementwise("logical_and", is_zero, lost), zero, y)


annihilate = general(
    "annihilate", _annihilate_impl, jvp=_annihilate_jvp, vjp=_annihilate_vjp, elementwise=True,
    singular=True, arity=2, zero_wins=_annihilate_where_zero_wins,
    aval=lambda a, b: aval(broadcast_shape("annihilate", a, b),
                           dtype_of(np.multiply, kind_of(a), kind_of(b))),
    batch=batch_elementwise("annihilate"), lower=_annihilate_lower, keeps=frozenset({0, 1}),
    depends="elementwise", cases=elementwise_cases(
        ((-2.0, 2.0), (-2.0, 2.0)), (), [(0.0, np.inf), (0.0, np.nan), (np.inf, 0.0)]),
    label=Label("{0} * {1}", r"{0}\,{1}", ("{1}", "{0}"),
                "product rule; constant factor; constant factor", "**"),
    doc="""The product in which a zero downstream cancels a non-finite factor upstream.

        y = x z, but 0 where x = 0 and z is infinite or NaN

    >>> ad.annihilate([0.0, 2.0], [float("inf"), 3.0])
    array([0., 6.])
    """)


# ---- dtype

def _cast_impl(x: Any, dtype: Any) -> Any:
    x = np.asarray(x)
    if x.dtype.kind == "c" and np.dtype(dtype).kind != "c":
        x = x.real
    return x.astype(dtype)[()]


def _cast_known(x: Any, dtype: Any) -> Any:
    return aval(x.shape, np.dtype(dtype))


def _batch_cast(size: int, axes: Any, x: Any, dtype: Any) -> Any:
    return astype(x, dtype), 0


def _cast_vjp(dy: Any, y: Any, x: Any, needs: Any, dtype: Any) -> tuple[Any]:
    return (_cast(dy, dtype=x.dtype),)


def _cast_jvp(dxs: Any, y: Any, x: Any, dtype: Any) -> Any:
    return None if dxs[0] is None else _cast(dxs[0], dtype=dtype)


def _cast_lower(b: Any, x: Any, dtype: Any) -> Any:
    return b.cast(x, np.dtype(dtype))


_cast = general(
    "cast", _cast_impl, arity=1, aval=_cast_known, jvp=_cast_jvp, vjp=_cast_vjp, lower=_cast_lower,
    batch=_batch_cast, depends="elementwise",
    label=Label("cast({0}, {dtype})", "{0}", ("1",), "change of dtype", "( ", ("{dy}",)),
    cases=array_cases({"dtype": np.dtype("float64")}, {"dtype": np.dtype("float32")}))
_round_off = constant(
    "cast_to_discrete", _cast_impl, 1, aval=_cast_known, elementwise=False, batch=_batch_cast,
    lower=_cast_lower, label=Label("cast({0}, {dtype})", "{0}", binds="( "),
    cases=array_cases({"dtype": np.dtype("int64")}, {"dtype": np.dtype("bool")}))


@function(np.astype)
def astype(x: Any, dtype: Any, copy: bool = True) -> Any:
    """``x`` in another dtype; the gradient comes back in the dtype of x.

    Integers and booleans have no derivative: what is cast to them is a constant. Without ``copy``
    an array of that dtype is itself the result, which a change in place reaches.

    >>> ad.astype([1.5, 2.5], int)
    array([1, 2])
    """
    dtype = np.dtype(dtype)
    if not copy and isinstance(x, (Box, np.ndarray)) and x.dtype == dtype:
        return x
    return _cast(x, dtype=dtype) if dtype.kind in "fc" else _round_off(x, dtype=dtype)


@function(np.float_power)
def float_power(x: Any, z: Any) -> Any:
    """The power of floating point numbers: integers and float32 are cast to float64 first.

        y = x^z,    dy/dx = z x^(z - 1),    dy/dz = y ln x

    >>> ad.float_power([2, 4], -1)
    array([0.5 , 0.25])
    """
    x = arrayed(x)
    return power(astype(x, np.result_type(x.dtype, np.float64)), z)
