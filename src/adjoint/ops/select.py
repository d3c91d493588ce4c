"""Comparisons and choices between elements: constants, and rows whose gradient goes to the chosen.

At a tie maximum, minimum and clip share the gradient equally; the relu family follows PyTorch at
its kinks.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from adjoint.core.box import Box
from adjoint.core.careful import has_nan
from adjoint.core.node import aval, aval_of
from adjoint.core.primitive import PUBLIC, Label
from adjoint.errors import ArgumentError

from . import loops
from .cases import Case, Cases, array_cases, draw, elementwise_cases
from .declare import (
    arrayed,
    batch_elementwise,
    broadcast_shape,
    composed,
    constant,
    elementwise,
    function,
    general,
    gives_arrays,
    promoted,
    total,
)


def _comparison(name: str, impl: Any, sign: str, latex: str, what: str, answer: str) -> Any:
    return constant(
        name, impl, 2, numpy=[impl],
        label=Label(f"{{0}} {sign} {{1}}", f"{{0}} {latex} {{1}}", binds="=="),
        doc=f"Where x is {what} z: booleans, without derivative.\n\n"
            f"    >>> ad.{name}([1.0, 2.0, 3.0], 2.0)\n    array({answer})\n    ")


less = _comparison("less", np.less, "<", "<", "less than", "[ True, False, False]")
less_equal = _comparison("less_equal", np.less_equal, "<=", r"\le", "at most",
                         "[ True,  True, False]")
greater = _comparison("greater", np.greater, ">", ">", "greater than", "[False, False,  True]")
greater_equal = _comparison("greater_equal", np.greater_equal, ">=", r"\ge", "at least",
                            "[False,  True,  True]")
equal = _comparison("equal", np.equal, "==", "=", "equal to", "[False,  True, False]")
not_equal = _comparison("not_equal", np.not_equal, "!=", r"\ne", "different from",
                        "[ True, False,  True]")


def _logical(name: str, impl: Any, arity: int, sign: str, example: str, numpy: Any) -> Any:
    arguments, latex = "{0} " + sign + " {1}", rf"{{0}} \mathbin{{{{\mathrm{{{{{sign}}}}}}}}} {{1}}"
    if arity == 1:
        arguments, latex = sign + "({0})", rf"\mathrm{{{{{sign}}}}}({{0}})"
    return constant(
        name, impl, arity, numpy=numpy,
        label=Label(arguments, latex, binds="==" if arity == 2 else "(("),
        doc=f"{sign}, element by element: booleans, without derivative.\n\n    {example}\n    ")


logical_and = _logical("logical_and", np.logical_and, 2, "and",
                       ">>> ad.logical_and([True, True], [True, False])\n    array([ True, False])",
                       [np.logical_and])
logical_or = _logical("logical_or", np.logical_or, 2, "or",
                      ">>> ad.logical_or([True, False], False)\n    array([ True, False])",
                      [np.logical_or])
logical_xor = _logical("logical_xor", np.logical_xor, 2, "xor",
                       ">>> ad.logical_xor([True, False], True)\n    array([False,  True])",
                       [np.logical_xor])
logical_not = _logical("logical_not", np.logical_not, 1, "not",
                       ">>> ad.logical_not([True, False])\n    array([False,  True])",
                       [np.logical_not])
isfinite = _logical("isfinite", np.isfinite, 1, "isfinite",
                    ">>> ad.isfinite([1.0, float('inf')])\n    array([ True, False])",
                    [np.isfinite])
isnan = _logical("isnan", np.isnan, 1, "isnan",
                 ">>> ad.isnan([1.0, float('nan')])\n    array([False,  True])", [np.isnan])
isinf = _logical("isinf", np.isinf, 1, "isinf",
                 ">>> ad.isinf([1.0, float('inf')])\n    array([False,  True])", [np.isinf])
signbit = _logical("signbit", np.signbit, 1, "signbit",
                   ">>> ad.signbit([1.0, -0.0])\n    array([False,  True])", [np.signbit])


def _whole_cases(arity: int) -> Cases:
    """Integers and booleans of every kind of shape."""
    def generate(rng: np.random.Generator) -> Any:
        for shape in ((), (1,), (4,), (2, 3), (0,)):
            yield Case(tuple(np.asarray(rng.integers(-8, 8, shape)) for _ in range(arity)))
            yield Case(tuple(np.asarray(rng.random(shape) > 0.5) for _ in range(arity)))
        x = rng.integers(-8, 8, (3, 4))
        yield Case((np.asfortranarray(x), x[::-1])[:arity])
        yield Case((x[::-1], x)[:arity])
        if arity > 1:
            yield Case((x, x[0]))
            yield Case((x[:, :1], x))
    return Cases(generate, {"float32": "bits are of integers"})


def _bitwise(name: str, impl: Any, arity: int, text: str, latex: str, example: str) -> Any:
    binds = "((" if arity == 1 else "(=" if text.endswith(")") else "=="
    return constant(
        name, impl, arity, numpy=[impl], label=Label(text, latex, binds=binds),
        cases=_whole_cases(arity),
        doc=f"`numpy.{name}`: bit by bit of integers, of booleans the logical operation; without "
            f"derivative.\n\n    {example}\n    ")


bitwise_and = _bitwise("bitwise_and", np.bitwise_and, 2, "{0} & {1}", r"{0} \mathbin{{\&}} {1}",
                       ">>> ad.bitwise_and([6, 1], 3)\n    array([2, 1])")
bitwise_or = _bitwise("bitwise_or", np.bitwise_or, 2, "{0} | {1}", r"{0} \mid {1}",
                      ">>> ad.bitwise_or([6, 1], 3)\n    array([7, 3])")
bitwise_xor = _bitwise("bitwise_xor", np.bitwise_xor, 2, "bitwise_xor({0}, {1})",
                       r"{0} \oplus {1}",
                       ">>> ad.bitwise_xor([6, 1], 3)\n    array([5, 2])")
invert = _bitwise("invert", np.invert, 1, "~({0})", r"\mathord{{\sim}}({0})",
                  ">>> ad.invert([True, False])\n    array([False,  True])")


def _whole(x: Any) -> Any:
    return np.isfinite(x) & np.equal(x, np.floor(x))


def _rounding(name: str, impl: Any, latex: str, what: str, answer: str, jump: Any = _whole) -> Any:
    return constant(
        name, impl, 1, numpy=[impl], label=Label(name + "({0})", latex), kink=jump,
        doc=f"{what}: constant between its jumps, so without derivative.\n\n"
            f"    >>> ad.{name}([-1.5, 0.4, 2.7])\n    array({answer})\n    ")


floor = _rounding("floor", np.floor, r"\left\lfloor {0} \right\rfloor", "Rounded down",
                  "[-2.,  0.,  2.]")
ceil = _rounding("ceil", np.ceil, r"\left\lceil {0} \right\rceil", "Rounded up", "[-1.,  1.,  3.]")
trunc = _rounding("trunc", np.trunc, r"\mathrm{{trunc}}({0})", "Rounded towards zero",
                  "[-1.,  0.,  2.]", lambda x: _whole(x) & np.not_equal(x, 0))
rint = _rounding("rint", np.rint, r"\mathrm{{round}}({0})",
                 "Rounded to the nearest integer, halves to the even one", "[-2.,  0.,  3.]",
                 lambda x: np.isfinite(x) & ~_whole(x) & _whole(np.multiply(x, 2.0)))


@function(np.round, np.around)
def round(x: Any, decimals: int = 0) -> Any:
    """``x`` rounded to ``decimals`` places after the point, halves to even: without derivative.

    >>> ad.round([0.5, 1.234], 1)
    array([0.5, 1.2])
    """
    x = arrayed(x)
    if x.dtype.kind in "iu" and decimals >= 0:
        return x
    y = rint(x) if not decimals else rint(x * 10.0 ** decimals) / 10.0 ** decimals
    return PUBLIC["astype"](y, x.dtype) if x.dtype.kind in "iu" else y


# ---- where

def _where_jvp(dxs: Any, y: Any, c: Any, x: Any, z: Any) -> Any:
    _, dx, dz = dxs
    if dx is None and dz is None:
        return None
    return where(c, 0.0 if dx is None else dx, 0.0 if dz is None else dz)


def _where_vjp(dy: Any, y: Any, c: Any, x: Any, z: Any, needs: Any) -> tuple[Any, Any, Any]:
    return (None, where(c, dy, 0.0) if needs[1] else None, where(c, 0.0, dy) if needs[2] else None)


def _where_lower(b: Any, c: Any, x: Any, z: Any) -> Any:
    c = loops.cast(b, c, np.dtype(bool))
    dtype = promoted(x, z)
    return b.select(*loops.aligned(b, (c, loops.cast(b, x, dtype), loops.cast(b, z, dtype))))


def _where_cases(rng: np.random.Generator) -> Any:
    for case in elementwise_cases(((-2.0, 2.0), (-2.0, 2.0)))(rng):
        x, z = case.args
        shape = np.broadcast_shapes(np.shape(x), np.shape(z))
        yield Case((np.asarray(rng.random(shape) > 0.5)[()], x, z))
    yield Case((np.array([[True], [False]]), draw(rng, (3,)), np.float64(1.0)))


_select = general(
    "where", lambda c, x, z: np.where(c, x, z)[()], jvp=_where_jvp, vjp=_where_vjp,
    elementwise=True, keeps=frozenset({0}), batch=batch_elementwise("where"), lower=_where_lower,
    aval=lambda c, x, z: aval(broadcast_shape("where", c, x, z), promoted(x, z)),
    depends="elementwise", cases=Cases(_where_cases),
    label=Label("where({0}, {1}, {2})", r"\mathrm{{where}}({0}, {1}, {2})",
                ("0", "[{0}]", r"[\neg {0}]"), "choice"))


@function(np.where, kind=gives_arrays)
def where(condition: Any, x: Any = None, z: Any = None) -> Any:
    """``x`` where the condition holds, else ``z``, element by element.

        y = x if c else z,    dy/dx = [c],    dy/dz = [not c]

    The gradient of the branch not taken is discarded, not multiplied by 0:
    ``where(x > 0, sqrt(x), 0)`` has gradient 0 at 0 in both modes and at every order.

    >>> ad.where([True, False], [1.0, 2.0], 0.0)
    array([1., 0.])
    """
    if x is None and z is None and not isinstance(condition, Box):
        return np.where(condition)
    if x is None or z is None:
        raise ArgumentError("where: x and z are both needed: ad.where(condition, x, z)")
    return _select(condition, x, z)


# ---- extremes

def _share(d: Any, x: Any, z: Any) -> Any:
    """All of ``d`` where x > z, 0 where x < z, and half of it at a tie."""
    return where(x > z, d, where(x < z, 0.0, 0.5 * d))


def _extreme(name: str, impl: Any, left: Any, right: Any, what: str, sign: str) -> Any:
    def vjp(dy: Any, y: Any, x: Any, z: Any, needs: Any) -> tuple[Any, Any]:
        return (left(dy, x, z) if needs[0] else None, right(dy, x, z) if needs[1] else None)

    def jvp(dxs: Any, y: Any, x: Any, z: Any) -> Any:
        dx, dz = dxs
        return total([None if dx is None else left(dx, x, z),
                      None if dz is None else right(dz, x, z)])
    return elementwise(
        name, impl, lambda y, x, z: left(1.0, x, z), lambda y, x, z: right(1.0, x, z),
        vjp=vjp, jvp=jvp, numpy=[impl], kinks=[(1.0, 1.0)], kink=np.equal,
        label=Label(name + "({0}, {1})", rf"\{name[:3]}({{0}}, {{1}})",
                    (rf"[{{0}} {sign} {{1}}] + \frac{{{{[{{0}} = {{1}}]}}}}{{{{2}}}}",
                     rf"[{{1}} {sign} {{0}}] + \frac{{{{[{{0}} = {{1}}]}}}}{{{{2}}}}"), "choice"),
        doc=f"""The {what} of two arrays, element by element; at a tie each gets half the gradient.

        y = {name[:3]}(x, z),    dy/dx = 1 where x {sign} z, 1/2 where x = z, else 0

    >>> ad.{name}([1.0, 3.0], 2.0)
    array({"[2., 3.]" if name == "maximum" else "[1., 2.]"})
    """)


def _other(d: Any, x: Any, z: Any) -> Any:
    return _share(d, z, x)


maximum = _extreme("maximum", np.maximum, _share, _other, "larger", ">")
minimum = _extreme("minimum", np.minimum, _other, _share, "smaller", "<")


@composed(np.clip, label=Label("clip({0}, {1}, {2})", r"\mathrm{{clip}}({0}, {1}, {2})"),
          cases=array_cases({"min": -0.5, "max": 0.5}, {"min": 0.0}, {"max": 0.0}, extra=[
              Case((np.array([0.3, -1.5, 0.2]), np.array([-1.0, -0.5, 0.0]), np.float64(1.0))),
              Case((np.array([[0.3], [1.2]]), np.array([-1.0, 0.5, 0.0]), np.ones((2, 3)))),
              Case((np.array([1.0, 1.0]), np.array([1.0, 1.0]), 2.0), {}, "kink"),
              Case((np.array([1.0, 1.0]),), {"min": 1.0, "max": 1.0}, "kink")]))
def clip(x: Any, min: Any = None, max: Any = None, *, a_min: Any = None, a_max: Any = None) -> Any:
    """``x`` held between two bounds, each of which may be None; at a bound the gradient is shared.

        y = minimum(maximum(x, min), max)

    >>> ad.clip([-1.0, 0.5, 2.0], 0.0, 1.0)
    array([0. , 0.5, 1. ])
    """
    low, high = (a_min if min is None else min), (a_max if max is None else max)
    if low is None and high is None:
        return PUBLIC["astype"](x, aval_of(x).dtype)  # a copy
    y = x if low is None else maximum(x, low)
    return y if high is None else minimum(y, high)


# ---- the relu family

def _kept(dy: Any, chosen: Any) -> Any:
    """``dy`` where chosen, else 0; a product is faster than `where`, and right if finite."""
    dx = dy * chosen
    return where(chosen, dy, 0.0) if has_nan(dx) else dx


relu = elementwise(
    "relu", lambda x: np.maximum(x, 0),
    lambda y, x: where(y > 0.0, y.dtype.type(1.0), y.dtype.type(0.0)),
    vjp=lambda dy, y, x, needs: (_kept(dy, y > 0.0),), kinks=[(0.0,)],
    kink=lambda x: np.equal(x, 0),
    jvp=lambda dxs, y, x: None if dxs[0] is None else where(y > 0.0, dxs[0], 0.0),
    lower=lambda b, x: b.elementwise("relu", x),
    label=Label("relu({0})", r"\mathrm{{ReLU}}({0})", (r"[{0} > 0]",),
                "chain rule for the rectifier"),
    doc="""The rectifier: the positive part. Its derivative at 0 is 0, as in PyTorch.

        y = max(x, 0),    dy/dx = [x > 0]

    >>> ad.relu([-1.0, 2.0])
    array([0., 2.])
    """)


def _same(x: Any) -> Any:
    return x


_stop = constant("stop_gradient", _same, 1, label=Label("stop({0})", r"\mathrm{{stop}}({0})"),
                 lower=lambda b, x: x, alias=True)


@function()
def stop_gradient(x: Any) -> Any:
    """``x`` as a constant: its derivative is 0 in every mode.

    >>> ad.grad(lambda x: x * ad.stop_gradient(x))(3.0)
    3.0
    """
    return _stop(x)
