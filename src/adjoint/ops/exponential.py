"""Exponentials, logarithms and the functions made of them: one statement per operation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from adjoint.core.primitive import Label
from adjoint.errors import DTypeError

from .cases import elementwise_cases
from .declare import dtype_of, elementwise
from .select import isinf, logical_and, where

LN2, LN10 = math.log(2.0), math.log(10.0)
POSITIVE = (0.2, 3.0)


def _doc(sentence: str, formula: str, example: str) -> str:
    return f"{sentence}\n\n        {formula}\n\n    {example}\n    "


exp = elementwise(
    "exp", np.exp, lambda y, x: y, numpy=[np.exp], scalar=math.exp,
    label=Label("exp({0})", "e^{{{0}}}", ("{y}",),
                "chain rule for the exponential", "(^"),
    doc=_doc("The exponential.", "y = e^x,    dy/dx = y",
             ">>> ad.exp([0.0, 1.0])\n    array([1.        , 2.71828183])"))
exp2 = elementwise(
    "exp2", np.exp2, lambda y, x: y * LN2, numpy=[np.exp2], scalar=lambda x: 2.0 ** x,
    label=Label("2 ^ {0}", "2^{{{0}}}", (r"{y}\,\ln(2)",),
                "chain rule for the exponential", "^^"),
    doc=_doc("Two to the power of x.", "y = 2^x,    dy/dx = y ln 2",
             ">>> ad.exp2([0.0, 3.0])\n    array([1., 8.])"))
expm1 = elementwise(
    "expm1", np.expm1, lambda y, x: exp(x), numpy=[np.expm1], scalar=math.expm1,
    label=Label("expm1({0})", "e^{{{0}}} - 1", ("e^{{{0}}}",),
                "chain rule for the exponential", "(+"),
    doc=_doc("The exponential minus one, exact near 0.", "y = e^x - 1,    dy/dx = e^x",
             ">>> ad.expm1([0.0, 1.0])\n    array([0.        , 1.71828183])"))
log = elementwise(
    "log", np.log, lambda y, x: 1.0 / x, numpy=[np.log], singular=True, scalar=math.log,
    label=Label("ln({0})", r"\ln({0})", (r"\frac{{1}}{{{0}}}",),
                "chain rule for the logarithm"), domain=POSITIVE,
    singular_at=[(0.0,)],
    doc=_doc("The natural logarithm.", "y = ln x,    dy/dx = 1 / x",
             ">>> ad.log([1.0, 2.0])\n    array([0.        , 0.69314718])"))
log2 = elementwise(
    "log2", np.log2, lambda y, x: 1.0 / (x * LN2), numpy=[np.log2], singular=True,
    scalar=math.log2, domain=POSITIVE, singular_at=[(0.0,)],
    label=Label("log2({0})", r"\log_2({0})", (r"\frac{{1}}{{{0}\,\ln(2)}}",),
                "chain rule for the logarithm"),
    doc=_doc("The logarithm to base 2.", "y = log2 x,    dy/dx = 1 / (x ln 2)",
             ">>> ad.log2([1.0, 8.0])\n    array([0., 3.])"))
log10 = elementwise(
    "log10", np.log10, lambda y, x: 1.0 / (x * LN10), numpy=[np.log10], singular=True,
    scalar=math.log10, domain=POSITIVE, singular_at=[(0.0,)],
    label=Label("log10({0})", r"\log_{{10}}({0})", (r"\frac{{1}}{{{0}\,\ln(10)}}",),
                "chain rule for the logarithm"),
    doc=_doc("The logarithm to base 10.", "y = log10 x,    dy/dx = 1 / (x ln 10)",
             ">>> ad.log10([1.0, 100.0])\n    array([0., 2.])"))
log1p = elementwise(
    "log1p", np.log1p, lambda y, x: 1.0 / (1.0 + x), numpy=[np.log1p], singular=True,
    scalar=math.log1p, domain=(-0.5, 2.0), singular_at=[(-1.0,)],
    label=Label("log1p({0})", r"\ln(1 + {0})", (r"\frac{{1}}{{1 + {0}}}",),
                "chain rule for the logarithm"),
    doc=_doc("The logarithm of 1 + x, exact near 0.", "y = ln(1 + x),    dy/dx = 1 / (1 + x)",
             ">>> ad.log1p([0.0, 1.0])\n    array([0.        , 0.69314718])"))


def _logaddexp_weight(a: Any, b: Any) -> Any:
    """The share e^a / (e^a + e^b); 0 where both are -inf, as their sum is 0 whatever is added.

    Only equal infinities are taken out of the difference: where finite numbers tie it is 0 with a
    slope, which the second derivative needs.
    """
    with np.errstate(invalid="ignore"):  # inf - inf, which is not chosen
        difference = where(logical_and(a == b, isinf(a)), 0.0, a - b)
    return where(a == -np.inf, 0.0, share(difference))


logaddexp = elementwise(
    "logaddexp", np.logaddexp, lambda y, x, z: _logaddexp_weight(x, z),
    lambda y, x, z: _logaddexp_weight(z, x), numpy=[np.logaddexp],
    label=Label("logaddexp({0}, {1})", r"\ln(e^{{{0}}} + e^{{{1}}})",
                ("e^{{{0} - {y}}}", "e^{{{1} - {y}}}"), "chain rule for log-sum-exp"),
    cases=elementwise_cases(
        ((-2.0, 2.0), (-2.0, 2.0)), regular=[(0.0, 0.0), (1.5, 1.5)],
        singular=[(-np.inf, -np.inf), (np.inf, 0.0), (np.inf, np.inf), (0.0, -np.inf)]),
    doc=_doc("The logarithm of a sum of two exponentials, without overflow.",
             "y = ln(e^x + e^z),    dy/dx = e^(x - y),    dy/dz = e^(z - y)",
             ">>> ad.logaddexp(1000.0, [1000.0, 0.0])\n    array([1000.69314718, 1000.        ])"))


def _real(name: str, x: Any) -> Any:
    """``x``, which has an order; of complex numbers these formulas would give something else."""
    dtype = getattr(x, "dtype", None)
    if dtype is not None and dtype.kind == "c":
        raise DTypeError(f"{name} is for real numbers, not {dtype}; write it with ad.exp, or "
                         "take ad.real(x) first")
    if dtype is not None and dtype.kind in "bu":  # -x of these wraps: in the dtype of their exp
        return x.astype(dtype_of(np.exp, dtype))
    return x


def _stable_sigmoid(x: Any) -> Any:
    """1 / (1 + e^-x) from e^-|x|, which cannot overflow."""
    x = _real("sigmoid", x)
    small = np.exp(-np.abs(x))
    return (np.where(np.less(x, 0), small, small.dtype.type(1)) / (1 + small))[()]


def _sigmoid_lower(b: Any, x: Any) -> Any:
    return b.elementwise("sigmoid", x)


def _sigmoid_scalar(x: float) -> float:
    return 1.0 / (1.0 + math.exp(-x)) if x >= 0 else math.exp(x) / (1.0 + math.exp(x))


sigmoid = elementwise(
    "sigmoid", _stable_sigmoid, lambda y, x: y * (1.0 - y), numpy=["expit"], scalar=_sigmoid_scalar,
    lower=_sigmoid_lower,
    label=Label("sigmoid({0})", r"\sigma({0})", (r"{y}\,(1 - {y})",),
                "chain rule for the logistic function"),
    doc=_doc("The logistic function.", "y = 1 / (1 + e^-x),    dy/dx = y (1 - y)",
             ">>> ad.sigmoid([0.0, 2.0])\n    array([0.5       , 0.88079708])"))


share = elementwise(  # with the digits of its slope in both tails, which takes an exponential
    "special._share", _stable_sigmoid, lambda y, x: y * share(-x), lower=_sigmoid_lower,
    label=Label("sigmoid({0})", r"\sigma({0})", (r"\sigma({0})\,\sigma(-{0})",),
                "chain rule for the logistic function"))


def _stable_log_sigmoid(x: Any) -> Any:
    x = _real("log_sigmoid", x)
    return (np.minimum(x, 0) - np.log1p(np.exp(-np.abs(x))))[()]


log_sigmoid = elementwise(
    "log_sigmoid", _stable_log_sigmoid, lambda y, x: share(-x),
    label=Label("log_sigmoid({0})", r"\ln(\sigma({0}))", (r"\sigma(-{0})",),
                "chain rule for the logistic function"),
    doc=_doc("The logarithm of the logistic function, finite where log(sigmoid(x)) is not.",
             "y = -ln(1 + e^-x),    dy/dx = 1 / (1 + e^x)",
             ">>> ad.log_sigmoid([0.0, -1000.0])\n    array([-6.93147181e-01, -1.00000000e+03])"))


def _stable_softplus(x: Any) -> Any:
    x = _real("softplus", x)
    return (np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))))[()]


softplus = elementwise(
    "softplus", _stable_softplus, lambda y, x: share(x),
    label=Label("softplus({0})", r"\ln(1 + e^{{{0}}})", (r"\sigma({0})",),
                "chain rule for the logistic function"),
    doc=_doc("A smooth ramp.", "y = ln(1 + e^x),    dy/dx = 1 / (1 + e^-x)",
             ">>> ad.softplus([0.0, 1000.0])\n    array([6.93147181e-01, 1.00000000e+03])"))
