"""Elementwise functions whose value or slope needs care at some points: x log z, sinc, erf, ...

SciPy is imported when one of its functions is first evaluated, in `scipy_function` and nowhere
else, so that ``import adjoint`` does without it.
"""

from __future__ import annotations

import importlib
from functools import lru_cache
from math import factorial, pi, sqrt
from typing import Any

import numpy as np

from adjoint.core.node import Aval, aval
from adjoint.core.primitive import NUMPY, Label
from adjoint.core.symbol import trace
from adjoint.errors import ArgumentError, DTypeError

from . import loops
from .arithmetic import astype, floor_divide, negative, remainder, sign
from .cases import Case, Cases, array_cases, draw, elementwise_cases, layouts
from .declare import (
    APPLY,
    arrayed,
    batch_elementwise,
    broadcast_shape,
    check_axis,
    composed,
    constant,
    elementwise,
    function,
    general,
    gives_arrays,
    shape_of,
    total,
)
from .exponential import LN2, exp, log, log1p, share
from .select import isinf, isnan, logical_and, logical_or, maximum, minimum, rint, trunc, where
from .trigonometric import arctanh, sin

POSITIVE = (0.3, 3.0)


def real_only(name: str, x: Any) -> Any:
    """``x``, which is real: of complex numbers these rows would give something else."""
    dtype = getattr(x, "dtype", None)
    if isinstance(x, complex) or (dtype is not None and dtype.kind == "c"):
        raise DTypeError(f"{name} is for real numbers, not {dtype or 'complex'}; take ad.real(x) "
                         "or ad.abs(x) first")
    return x


def lowered_as(decompose: Any) -> Any:
    """The lowering of a row that can be written in other rows: theirs, one after the other."""
    def lower(b: loops.Builder, *refs: Any, **params: Any) -> Any:
        known = [Aval(r.shape, r.dtype, bool(getattr(r, "weak", False))) for r in refs]
        graph, y = trace(lambda *xs: decompose(*xs, **params), *known)
        env: dict[Any, Any] = dict(zip(graph.inputs, refs, strict=True))
        for n in graph.nodes:
            inputs = [env[i] if i in env else b.const(i.value) for i in n.inputs]
            env[n] = n.prim.lower(b, *inputs, **n.params)
        return env[y.node]
    return lower


def lowered_call(impl: Any, known: Any) -> Any:
    """The lowering of a row that no loop computes: a call of ``impl`` on whole arrays."""
    def lower(b: loops.Builder, *refs: Any, **params: Any) -> Any:
        found = known(*[Aval(r.shape, r.dtype, False) for r in refs], **params)
        return b.call(lambda *xs: impl(*xs, **params), refs, found)
    return lower


def floating(dtype: Any) -> Any:
    """The dtype that NumPy computes in: that of floats, float64 for integers."""
    return dtype if dtype.kind == "f" else np.dtype(np.float64)


def floats(name: str, x: Any) -> Any:
    """Real ``x`` in floats: integers as they are would wrap around, or be taken for halves."""
    if isinstance(real_only(name, x), (float, int)):
        return x
    x = arrayed(x)
    return x if x.dtype.kind == "f" else astype(x, float)


def floats_of_one_kind(x: Any, z: Any) -> tuple[Any, Any]:
    """A Python number beside an array in the dtype of that, before a function makes it float64."""
    weak = [isinstance(v, (float, int)) and not isinstance(v, np.generic) for v in (x, z)]
    return (z.dtype.type(x) if weak[0] and not weak[1] else x,
            x.dtype.type(z) if weak[1] and not weak[0] else z)


def by_scipy(name: str, x: Any, *before: Any) -> Any:
    """SciPy's function of real ``x``, in its own dtype: SciPy gives halves another."""
    x = floats(name, x)  # before SciPy is imported: the builders ask about complex x
    y = scipy_function(name)(*before, x)
    return np.asarray(y).astype(x.dtype)[()] if getattr(x, "dtype", None) == np.float16 else y


def known_floating(x: Any, **_: Any) -> Any:
    """The Aval rule of a function of one real number."""
    return aval(x.shape, floating(x.dtype))


def _doc(sentence: str, formula: str, example: str) -> str:
    return f"{sentence}\n\n        {formula}\n\n    {example}\n    "


# ---- logarithms and products with them

def _logaddexp2_weight(a: Any, b: Any) -> Any:
    """The share 2^a / (2^a + 2^b); 0 where both are -inf."""
    with np.errstate(invalid="ignore"):  # inf - inf, which is not chosen
        difference = where(logical_and(a == b, isinf(a)), 0.0, a - b)
    return where(a == -np.inf, 0.0, share(difference * LN2))


logaddexp2 = elementwise(
    "logaddexp2", np.logaddexp2, lambda y, x, z: _logaddexp2_weight(x, z),
    lambda y, x, z: _logaddexp2_weight(z, x), numpy=[np.logaddexp2],
    label=Label("logaddexp2({0}, {1})", r"\log_2(2^{{{0}}} + 2^{{{1}}})",
                ("2^{{{0} - {y}}}", "2^{{{1} - {y}}}"), "chain rule for log-sum-exp"),
    cases=elementwise_cases(
        ((-2.0, 2.0), (-2.0, 2.0)), regular=[(0.0, 0.0), (1.5, 1.5)],
        singular=[(-np.inf, -np.inf), (np.inf, 0.0), (np.inf, np.inf), (0.0, -np.inf)]),
    doc=_doc("The logarithm to base 2 of a sum of two powers of 2, without overflow.",
             "y = log2(2^x + 2^z),    dy/dx = 2^(x - y),    dy/dz = 2^(z - y)",
             ">>> ad.logaddexp2([1.0, 2000.0], [1.0, 0.0])\n    array([   2., 2000.])"))


def _times_log(name: str, ours: Any, inner: Any, edge: float, label: Label, doc: str) -> Any:
    """The product x log(z): 0 where x is 0, and flat where log(z) is infinite there too."""
    def value(x: Any, z: Any) -> Any:
        x, z = floats_of_one_kind(floats(name, x), floats(name, z))
        flat = logical_and(x == 0, z == z)
        return where(flat, 0.0, x * ours(where(flat, edge + 1.0, z)))

    def first(y: Any, x: Any, z: Any) -> Any:
        x, z = floats_of_one_kind(floats(name, x), floats(name, z))
        corner = logical_and(x == 0, z == edge)
        return where(corner, 0.0, ours(where(corner, edge + 1.0, z)))

    def second(y: Any, x: Any, z: Any) -> Any:
        corner = logical_and(x == 0, z == edge)
        return where(corner, 0.0, x / where(corner, 1.0, inner(z)))
    return elementwise(
        name, value, first, second, numpy=[name], singular=True, label=label, doc=doc,
        lower=lowered_as(value), domain=((-2.0, 2.0), (edge + 0.3, edge + 3.0)),
        singular_at=[(0.0, edge), (1.0, edge)])


xlogy = _times_log(
    "xlogy", log, lambda z: z, 0.0,
    Label("xlogy({0}, {1})", r"{0}\,\ln({1})", (r"\ln({1})", r"\frac{{{0}}}{{{1}}}"),
          "product rule", "(*"),
    _doc("x times the logarithm of z, which is 0 where x is 0; at x = z = 0 both partials are 0.",
         "y = x ln z,    dy/dx = ln z,    dy/dz = x / z",
         ">>> ad.xlogy([0.0, 1.0], [0.0, 2.0])\n    array([0.        , 0.69314718])"))
xlog1py = _times_log(
    "xlog1py", log1p, lambda z: 1.0 + z, -1.0,
    Label("xlog1py({0}, {1})", r"{0}\,\ln(1 + {1})",
          (r"\ln(1 + {1})", r"\frac{{{0}}}{{1 + {1}}}"), "product rule", "(*"),
    _doc("x times the logarithm of 1 + z, 0 where x is 0; at (0, -1) both partials are 0.",
         "y = x ln(1 + z),    dy/dx = ln(1 + z),    dy/dz = x / (1 + z)",
         ">>> ad.xlog1py([0.0, 1.0], [-1.0, 1.0])\n    array([0.        , 0.69314718])"))


def _logit_value(x: Any) -> Any:
    """Near 1/2, where the two logarithms cancel, by the inverse hyperbolic tangent of 2x - 1."""
    x = floats("logit", x)
    middle = logical_and(x >= 0.3, x <= 0.7)
    inner, outer = where(middle, x, 0.5), where(middle, 0.5, x)
    return where(middle, 2.0 * arctanh(2.0 * inner - 1.0), log(outer) - log1p(negative(outer)))


logit = elementwise(
    "logit", _logit_value, lambda y, x: 1.0 / (x * (1.0 - x)), numpy=["logit"], singular=True,
    lower=lowered_as(_logit_value), domain=(0.05, 0.95), singular_at=[(0.0,), (1.0,)],
    without={"integer": "between its ends, 0 and 1, there is none"},
    label=Label("logit({0})", r"\ln(\frac{{{0}}}{{1 - {0}}})",
                (r"\frac{{1}}{{{0}\,(1 - {0})}}",), "chain rule for the logarithm"),
    doc=_doc("The logarithm of the odds: the inverse of the logistic function.",
             "y = ln(x / (1 - x)),    dy/dx = 1 / (x (1 - x))",
             ">>> ad.logit([0.5, 0.75])\n    array([0.        , 1.09861229])"))


# ---- sinc

def _sinc_slope(x: Any, order: int) -> Any:
    """The derivative of sinc of this order: a series near 0, beyond it Leibniz's rule.

    With s(u) = sin(u) / u the rule for u s = sin u is u s^(n) + n s^(n-1) = sin(u + n pi / 2).
    """
    dtype = floating(np.asarray(x).dtype)
    x = np.asarray(x, np.float64)
    u = x * pi
    near = np.abs(u) < max(order, 1)
    inner, outer = np.where(near, u, 0.0), np.where(near, 1.0, u)
    series, square = np.zeros_like(u), inner * inner
    for k in reversed(range((order + 1) // 2, 2 * order + 20)):  # Horner's scheme
        series = series * square + (-1) ** k / ((2 * k + 1) * factorial(2 * k - order))
    series = series * inner if order % 2 else series
    whole = np.rint(x)  # sin(pi x) has the digits of the distance to a whole number
    turned = 1.0 - 2.0 * np.mod(whole, 2.0)
    rest = np.where(np.isfinite(u), x - whole, np.nan) * pi
    sine, cosine = turned * np.sin(rest), turned * np.cos(rest)
    turns = (sine, cosine, -sine, -cosine)
    rule = sine / outer
    for n in range(1, order + 1):
        rule = (turns[n % 4] - n * rule) / outer
    y = pi ** order * np.where(near, series, rule)
    return y.astype(dtype)[()]


def _derivatives(name: str, times: Any) -> dict[str, Any]:
    """The rules of a row f^(n) of one real number: ``times(d, x, n)`` is d f^(n+1)(x)."""
    def jvp(dxs: Any, y: Any, x: Any, order: int) -> Any:
        return None if dxs[0] is None else times(dxs[0], x, order)

    def vjp(dy: Any, y: Any, x: Any, needs: Any, order: int) -> tuple[Any]:
        return (times(dy, x, order),)
    return {"jvp": jvp, "vjp": vjp, "aval": known_floating, "elementwise": True,
            "depends": "elementwise", "keeps": frozenset({0}),
            "batch": lambda size, axes, x, order: (APPLY[name](x, order=order), 0)}


_sinc_derivative = general(
    "sinc_derivative", _sinc_slope,
    **_derivatives("sinc_derivative", lambda d, x, n: d * _sinc_derivative(x, order=n + 1)),
    lower=lowered_call(_sinc_slope, known_floating),
    label=Label("sinc_derivative({0}, order={order})", r"\mathrm{{sinc}}^{{({order})}}({0})",
                (r"\mathrm{{sinc}}^{{({order} + 1)}}({0})",), "chain rule for sinc"),
    cases=array_cases({"order": 1}, {"order": 2}, {"order": 5}, extra=[
        Case((np.array([0.0, 1e-9, -1e-3, 0.31, 0.32, 4.0]),), {"order": n}) for n in (1, 2, 3)]))


def _sinc_value(x: Any) -> Any:
    u = where(real_only("sinc", x) == 0, 1.0, x) * pi
    return where(x == 0, 1.0, sin(u) / u)


sinc = elementwise(
    "sinc", lambda x: np.sinc(np.asarray(real_only("sinc", x)))[()],
    lambda y, x: _sinc_derivative(x, order=1), numpy=[np.sinc], lower=lowered_as(_sinc_value),
    label=Label("sinc({0})", r"\mathrm{{sinc}}({0})", (r"\mathrm{{sinc}}^{{(1)}}({0})",),
                "chain rule for sinc"),
    cases=array_cases({}, extra=[Case((np.array([0.0, 1e-9, 3.0]),))]),
    doc=_doc("The normalised cardinal sine, with exact derivatives of every order at and near 0.",
             "y = sin(pi x) / (pi x),    dy/dx = (cos(pi x) - y) / x",
             ">>> ad.sinc([0.0, 0.5])\n    array([1.        , 0.63661977])"))


# ---- SciPy's functions

@lru_cache
def scipy_function(name: str) -> Any:
    """A function of scipy.special, imported when it is first needed."""
    return getattr(importlib.import_module("scipy.special"), name)


def _from_scipy(name: str, partial: Any, doc: str, label: Label, numpy: str = "", **fields: Any
                ) -> Any:
    return elementwise(name, lambda x: by_scipy(name, x), partial, numpy=[numpy or name],
                       label=label, doc=doc, **fields)


erf = _from_scipy(
    "erf", lambda y, x: 2.0 / sqrt(pi) * exp(-(x * x)),
    _doc("The error function.", "y = 2 / sqrt(pi) int_0^x e^(-t^2) dt,"
         "    dy/dx = 2 / sqrt(pi) e^(-x^2)",
         ">>> ad.erf([0.0, 1.0])\n    array([0.        , 0.84270079])"),
    Label("erf({0})", r"\mathrm{{erf}}({0})", (r"\frac{{2}}{{\sqrt{{\pi}}}}\,e^{{-{0}^2}}",),
          "chain rule for the error function"))
erfc = _from_scipy(
    "erfc", lambda y, x: -2.0 / sqrt(pi) * exp(-(x * x)),
    _doc("One minus the error function, exact where that is near 1.",
         "y = 1 - erf x,    dy/dx = -2 / sqrt(pi) e^(-x^2)",
         ">>> ad.erfc([0.0, 10.0])\n    array([1.00000000e+00, 2.08848758e-45])"),
    Label("erfc({0})", r"\mathrm{{erfc}}({0})", (r"-\frac{{2}}{{\sqrt{{\pi}}}}\,e^{{-{0}^2}}",),
          "chain rule for the error function"))
gammaln = _from_scipy(
    "gammaln", lambda y, x: digamma(x),
    _doc("The logarithm of the absolute value of the gamma function.",
         "y = ln |Gamma(x)|,    dy/dx = psi(x)",
         ">>> ad.gammaln([1.0, 5.0])\n    array([0.        , 3.17805383])"),
    Label("gammaln({0})", r"\ln(\left|\Gamma({0})\right|)", (r"\psi({0})",),
          "chain rule for gammaln"), singular=True, domain=POSITIVE, singular_at=[(0.0,)])
digamma = _from_scipy(
    "digamma", lambda y, x: _polygamma(x, order=1),
    _doc("The logarithmic derivative of the gamma function.",
         "y = psi(x) = d/dx ln Gamma(x),    dy/dx = psi'(x)",
         ">>> ad.digamma([1.0, 2.0])\n    array([-0.57721566,  0.42278434])"),
    Label("digamma({0})", r"\psi({0})", (r"\psi^{{(1)}}({0})",), "chain rule for digamma"),
    numpy="psi", singular=True, domain=POSITIVE, singular_at=[(0.0,)])


def _polygamma_impl(x: Any, order: int) -> Any:
    y = by_scipy("polygamma", x, order)
    return np.asarray(y).astype(floating(np.asarray(x).dtype))[()]


_polygamma = general(
    "polygamma", _polygamma_impl,
    **_derivatives("polygamma", lambda d, x, n: d * _polygamma(x, order=n + 1)),
    lower=lowered_call(_polygamma_impl, known_floating),
    label=Label("polygamma({order}, {0})", r"\psi^{{({order})}}({0})",
                (r"\psi^{{({order} + 1)}}({0})",), "chain rule for the gamma function"),
    cases=array_cases({"order": 1}, {"order": 2}, domain=POSITIVE, integer=False, extra=[
        Case((np.array([1, 2, 3]),), {"order": 1})]))


@function()
def polygamma(order: int, x: Any) -> Any:
    """The derivative of the digamma function of an order n = 0, 1, 2, ...

        y = psi^(n)(x),    dy/dx = psi^(n+1)(x)

    Raises ArgumentError for an order that is no whole number from 0 on.

    >>> ad.polygamma(1, [1.0, 2.0])
    array([1.64493407, 0.64493407])
    """
    if not isinstance(order, (int, np.integer)) or isinstance(order, bool) or order < 0:
        raise ArgumentError(f"polygamma: the order is 0, 1, 2, ..., not {order!r}; the arguments "
                            "are ad.polygamma(order, x)")
    x = arrayed(x)
    return digamma(x) if order == 0 else _polygamma(x, order=int(order))


def _bessel_impl(x: Any, order: int) -> Any:
    """SciPy's, and (x/2)^n / n! where its iv gives 0 or NaN for small x."""
    if order < 2:
        return by_scipy(f"i{order}", x)
    first = (x * 0.5) ** order / factorial(order)
    return np.where(np.abs(x) < 1e-8, first, by_scipy("iv", x, order))[()]


_bessel = general(
    "modified_bessel", _bessel_impl,
    **_derivatives("modified_bessel", lambda d, x, n: d * (
        0.5 * (_bessel(x, order=abs(n - 1)) + _bessel(x, order=n + 1)))),
    lower=lowered_call(_bessel_impl, known_floating),
    label=Label("modified_bessel({0}, order={order})", "I_{{{order}}}({0})", rule="chain rule",
                partials=(r"\frac{{I_{{{order} - 1}}({0}) + I_{{{order} + 1}}({0})}}{{2}}",)),
    cases=array_cases({"order": 0}, {"order": 1}, {"order": 3},
                      extra=[Case((np.array([0.0, 1e-9]),), {"order": n}) for n in (0, 1)]))


def _i0(x: Any) -> Any:
    return _bessel(arrayed(x), order=0)


NUMPY["i0"] = _i0  # SciPy's ufunc, with a scalar for one number; NumPy's function gives an array


@function(np.i0, kind=gives_arrays)
def i0(x: Any) -> Any:
    """The modified Bessel function of the first kind of order 0.

        y = I_0(x),    dy/dx = I_1(x)

    >>> ad.i0([0.0, 1.0])
    array([1.        , 1.26606588])
    """
    return _i0(x)


@function("i1")
def i1(x: Any) -> Any:
    """The modified Bessel function of the first kind of order 1.

        y = I_1(x),    dy/dx = (I_0(x) + I_2(x)) / 2

    >>> ad.i1([0.0, 1.0])
    array([0.       , 0.5651591])
    """
    return _bessel(arrayed(x), order=1)


# ---- remainders and parts of numbers

fmod = elementwise(
    "fmod", np.fmod, 1, lambda y, x, z: -rint((x - y) / z), numpy=[np.fmod],
    domain=((0.1, 0.9), (1.0, 2.5)), kinks=[(3.0, 3.0), (-3.0, 3.0)],
    kink=lambda x, z: (np.fmod(x, z) == 0) & np.not_equal(x, 0),
    label=Label("fmod({0}, {1})", r"\mathrm{{fmod}}({0}, {1})",
                ("1", r"-\mathrm{{trunc}}(\frac{{{0}}}{{{1}}})"), "remainder"),
    doc=_doc("What division rounded towards zero leaves, with the sign of x.",
             "y = x - z trunc(x / z),    dy/dx = 1,    dy/dz = -trunc(x / z)",
             ">>> ad.fmod([5.0, -1.0], 3.0)\n    array([ 2., -1.])"))


@function(np.divmod)
def divmod(x: Any, z: Any) -> tuple[Any, Any]:
    """The quotient rounded down, which is constant between its jumps, and the remainder.

    >>> ad.divmod([5.0, -1.0], 3.0)
    (array([ 1., -1.]), array([2., 2.]))
    """
    return floor_divide(x, z), remainder(x, z)


@function(np.modf)
def modf(x: Any) -> tuple[Any, Any]:
    """The part of ``x`` behind the point, which moves with x, and the whole part, a constant.

    >>> ad.modf([1.5, -0.25])
    (array([ 0.5 , -0.25]), array([ 1., -0.]))
    """
    x = arrayed(x)
    x = x if x.dtype.kind == "f" else astype(real_only("modf", x), float)
    whole = trunc(x)
    return where(isinf(x), 0.0, x - where(isinf(x), 0.0, whole)), whole


def _known_ldexp(x: Any, i: Any) -> Any:
    return aval(broadcast_shape("ldexp", x, i), floating(x.dtype))


def _ldexp_impl(x: Any, i: Any) -> Any:
    x, i = real_only("ldexp", np.asarray(x)[()]), np.asarray(i)[()]
    if i.dtype.kind not in "iub":
        broadcast_shape("ldexp", x, i)
        raise DTypeError(f"ldexp: the exponent is an integer, not {i.dtype}; write x * 2.0 ** i")
    return np.ldexp(x if np.asarray(x).dtype.kind == "f" else np.asarray(x, float), i)


def _ldexp_cases(rng: np.random.Generator) -> Any:
    for x in layouts(rng):
        yield Case((x, rng.integers(-3, 4, x.shape)))
    for a, b in (((3, 1), (4,)), ((4,), (2, 1, 4)), ((3,), ()), ((), (3,))):
        yield Case((np.asarray(draw(rng, a))[()], rng.integers(-3, 4, b)))


_ldexp = general(
    "ldexp", _ldexp_impl, aval=_known_ldexp, elementwise=True, depends="elementwise",
    keeps=frozenset({1}), batch=batch_elementwise("ldexp"),
    jvp=lambda dxs, y, x, i: None if dxs[0] is None else _ldexp(dxs[0], i),
    vjp=lambda dy, y, x, i, needs: (_ldexp(dy, i) if needs[0] else None, None),
    lower=lowered_call(_ldexp_impl, _known_ldexp), numpy=[np.ldexp], cases=Cases(_ldexp_cases),
    label=Label("{0} * 2 ^ {1}", r"{0}\,2^{{{1}}}", (r"2^{{{1}}}", "0"), "constant factor", "**"),
    doc=_doc("x times a power of two with a whole exponent, exact.",
             "y = x 2^i,    dy/dx = 2^i", ">>> ad.ldexp([1.0, 1.5], 3)\n    array([ 8., 12.])"))


def _exponent_impl(x: Any) -> Any:
    return np.frexp(real_only("frexp", x))[1]


_exponent = constant(
    "frexp_exponent", _exponent_impl, 1, label=Label("exponent({0})", r"\mathrm{{exponent}}({0})"),
    lower=lowered_call(_exponent_impl, lambda x: aval(x.shape, np.intc)),
    kink=lambda x: np.equal(np.abs(np.frexp(x)[0]), 0.5),
    aval=lambda x: aval(x.shape, np.intc))


@function(np.frexp)
def frexp(x: Any) -> tuple[Any, Any]:
    """The mantissa in [0.5, 1), which moves with ``x``, and the exponent of two, a constant.

        x = y 2^i,    dy/dx = 2^-i

    >>> ad.frexp([8.0, 3.0])
    (array([0.5 , 0.75]), array([4, 2], dtype=int32))
    """
    x = arrayed(x)
    exponent = _exponent(x)
    return _ldexp(x, -exponent), exponent


# ---- choices

def _present(d: Any, x: Any, z: Any) -> Any:
    """All of ``d`` where x > z or z is NaN, 0 where x < z or x is NaN, half of it otherwise."""
    first = logical_or(x > z, logical_and(isnan(z), x == x))
    second = logical_or(x < z, logical_and(isnan(x), z == z))
    return where(first, d, where(second, 0.0, 0.5 * d))


def _present_extreme(name: str, impl: Any, ours: Any, share: Any, word: str, sign: str) -> Any:
    def value(x: Any, z: Any) -> Any:
        return where(isnan(x), z, where(isnan(z), x, ours(x, z)))

    def vjp(dy: Any, y: Any, x: Any, z: Any, needs: Any) -> tuple[Any, Any]:
        return (share(dy, x, z) if needs[0] else None, share(dy, z, x) if needs[1] else None)

    def jvp(dxs: Any, y: Any, x: Any, z: Any) -> Any:
        return total([None if dxs[0] is None else share(dxs[0], x, z),
                      None if dxs[1] is None else share(dxs[1], z, x)])
    return elementwise(
        name, impl, lambda y, x, z: share(1.0, x, z), lambda y, x, z: share(1.0, z, x),
        vjp=vjp, jvp=jvp, numpy=[impl], kinks=[(1.0, 1.0), (np.nan, 1.0)], kink=np.equal,
        lower=lowered_as(value),
        label=Label(name + "({0}, {1})", rf"\{name[1:]}({{0}}, {{1}})",
                    (rf"[{{0}} {sign} {{1}}] + \frac{{{{[{{0}} = {{1}}]}}}}{{{{2}}}}",
                     rf"[{{1}} {sign} {{0}}] + \frac{{{{[{{0}} = {{1}}]}}}}{{{{2}}}}"), "choice"),
        doc=_doc(f"The {word} of two numbers; NaN is missing; a tie shares the gradient.",
                 f"y = {name[1:]}(x, z),    dy/dx = 1 where x {sign} z, 1/2 where x = z, else 0",
                 f">>> ad.{name}([1.0, float('nan')], 2.0)\n    "
                 f"array({'[2., 2.]' if sign == '>' else '[1., 2.]'})"))


fmax = _present_extreme("fmax", np.fmax, maximum, _present, "larger", ">")
fmin = _present_extreme("fmin", np.fmin, minimum, lambda d, x, z: _present(d, -x, -z), "smaller",
                        "<")


def _turned(x: Any, z: Any) -> Any:
    """The slope of copysign: sign(x) where z has the sign +, -sign(x) where it has -."""
    x, z = floats_of_one_kind(x, z)
    return sign(x) * copysign(1.0, z)


copysign = elementwise(
    "copysign", np.copysign, lambda y, x, z: _turned(x, z), lambda y, x, z: 0.0 * z,
    jvp=lambda dxs, y, x, z: None if dxs[0] is None else dxs[0] * _turned(x, z),
    vjp=lambda dy, y, x, z, needs: (dy * _turned(x, z) if needs[0] else None, None),
    numpy=[np.copysign], domain=(0.1, 2.0), kinks=[(0.0, 1.0)], keeps=frozenset({0, 1}),
    kink=lambda x, z: np.equal(x, 0) | np.equal(z, 0),
    label=Label("copysign({0}, {1})", r"\left|{0}\right|\,\mathrm{{sign}}({1})",
                (r"\mathrm{{sign}}({0})\,\mathrm{{sign}}({1})", "0"), "chain rule for |x|", "(*"),
    doc=_doc("The size of x with the sign of z, which -0.0 has too.",
             "y = |x| sign z,    dy/dx = sign x sign z,    dy/dz = 0",
             ">>> ad.copysign([1.5, -2.0], [-1.0, 1.0])\n    array([-1.5,  2. ])"))


def _heaviside_value(x: Any, z: Any) -> Any:
    return where(x < 0, 0.0, where(x > 0, 1.0, where(x == x, z, x)))


heaviside = elementwise(
    "heaviside", np.heaviside, lambda y, x, z: 0.0 * x, lambda y, x, z: 1.0 * (x == 0),
    jvp=lambda dxs, y, x, z: None if dxs[1] is None else where(x == 0, dxs[1], 0.0),
    vjp=lambda dy, y, x, z, needs: (None, where(x == 0, dy, 0.0) if needs[1] else None),
    numpy=[np.heaviside], domain=(0.1, 2.0), kinks=[(0.0, 0.5)], keeps=frozenset({0}),
    kink=lambda x, z: np.equal(x, 0), lower=lowered_as(_heaviside_value),
    label=Label("heaviside({0}, {1})", r"H({0}, {1})", ("0", "[{0} = 0]"), "choice"),
    doc=_doc("The step function: 0 below 0, 1 above it, and z at 0.",
             "y = [x > 0] + z [x = 0],    dy/dx = 0,    dy/dz = [x = 0]",
             ">>> ad.heaviside([-1.0, 0.0, 2.0], 0.5)\n    array([0. , 0.5, 1. ])"))


@composed(np.nan_to_num, label=Label("nan_to_num({0})", r"\mathrm{{finite}}({0})", (), "choice"),
          cases=array_cases({}, {"nan": 2.0, "posinf": 3.0, "neginf": -1.0}, extra=[
              Case((np.array([np.nan, np.inf, -np.inf, 1.0]),), p, "kink")
              for p in ({}, {"nan": 2.0, "posinf": 3.0})]))
def nan_to_num(x: Any, copy: bool = True, nan: Any = 0.0, posinf: Any = None, neginf: Any = None
               ) -> Any:
    """``x`` with numbers in place of NaN and the infinities, where its gradient is 0.

    ``posinf`` and ``neginf`` are the largest and the smallest number of the dtype if None.

    >>> ad.nan_to_num([1.0, float("nan")])
    array([1., 0.])
    """
    if not copy:
        raise ArgumentError("nan_to_num: copy=False writes into x; write x = ad.nan_to_num(x)")
    x = real_only("nan_to_num", arrayed(x))
    if x.dtype.kind != "f":
        return +x if x.dtype.kind in "iu" else x[()]
    ends = np.finfo(x.dtype)
    y = where(isnan(x), nan, x)
    y = where(x == np.inf, float(ends.max) if posinf is None else posinf, y)
    return where(x == -np.inf, float(ends.min) if neginf is None else neginf, y)


# ---- phases

def _shift_impl(x: Any, axis: int, period: float, discont: float) -> Any:
    """The sum up to each place of the whole periods by which its steps are too large."""
    shift, half = np.zeros(x.shape, floating(x.dtype)), period / 2.0
    step = np.diff(x, axis=axis)
    rest = np.mod(step + half, period) - half
    rest = np.where((rest == -half) & (step > 0), half, rest)  # a step of half a period up stays up
    over = np.where(np.abs(step) < discont, 0.0, rest - step)
    shift[(*(slice(None),) * axis, slice(1, None))] = np.add.accumulate(over, axis)
    return shift


_shift = constant(
    "unwrap_shift", _shift_impl, 1, aval=lambda x, **_: aval(x.shape, floating(x.dtype)),
    elementwise=False, depends="all", label=Label("shift({0})", r"\mathrm{{shift}}({0})"),
    batch=lambda size, axes, x, axis, **rest: (_shift(x, axis=axis + 1, **rest), 0),
    lower=lowered_call(_shift_impl, known_floating),
    cases=array_cases({"axis": 0, "period": 2.0, "discont": 1.0}, layout=False, extra=[
        Case((x,), {"axis": 0, "period": 2.0, "discont": 1.0}) for x in (
            np.ones(1), np.zeros((0, 3)), np.asfortranarray(np.arange(12.0).reshape(3, 4) * 0.7),
            np.arange(4.0)[::-1], np.arange(3, dtype=np.float32), np.arange(4))],
        without={"0-d": "phases follow each other along an axis"}))


@function(np.unwrap)
def unwrap(x: Any, discont: Any = None, axis: int = -1, *, period: float = 2.0 * pi) -> Any:
    """Phases without the jumps of half a period or more; the shifts are constants.

        y_i = x_i + k_i period,    dy_i/dx_i = 1

    >>> ad.unwrap([0.0, 3.0, 6.5])
    array([0.        , 3.        , 0.21681469])
    """
    x = real_only("unwrap", arrayed(x))
    axis = check_axis("unwrap", axis, len(shape_of(x)))
    x = x if x.dtype.kind == "f" else astype(x, float)
    return x + _shift(x, axis=axis, period=float(period),
                      discont=period / 2.0 if discont is None else float(discont))
