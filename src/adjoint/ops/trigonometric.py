"""Trigonometric and hyperbolic functions and their inverses: one statement per operation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from adjoint.core.node import ndarray
from adjoint.core.primitive import PUBLIC, Label

from .arithmetic import sqrt
from .declare import elementwise
from .select import stop_gradient

INSIDE = (-0.9, 0.9)


def _named(name: str, impl: Any, partial: Any, latex: str, slope: str, formula: str, example: str,
           **fields: Any) -> Any:
    """A function that prints as its name."""
    doc = (f"{fields.pop('sentence')}\n\n        {formula}\n\n"
           f"    >>> ad.{name}([0.0, 0.5])\n    {example}\n    ")
    return elementwise(
        name, impl, partial, numpy=[impl], scalar=getattr(math, name.replace("arc", "a")),
        label=Label(name + "({0})", latex, (slope,),
                    "chain rule for " + fields.pop("rule", "trigonometric functions")),
        doc=doc, **fields)


sin = _named("sin", np.sin, lambda y, x: cos(x), r"\sin({0})", r"\cos({0})",
             "y = sin x,    dy/dx = cos x", "array([0.        , 0.47942554])",
             sentence="The sine of an angle in radians.")
cos = _named("cos", np.cos, lambda y, x: -sin(x), r"\cos({0})", r"-\sin({0})",
             "y = cos x,    dy/dx = -sin x", "array([1.        , 0.87758256])",
             sentence="The cosine of an angle in radians.")
tan = _named("tan", np.tan, lambda y, x: 1.0 + y * y, r"\tan({0})", "1 + {y}^2",
             "y = tan x,    dy/dx = 1 + y^2", "array([0.        , 0.54630249])", domain=(-1.2, 1.2),
             sentence="The tangent of an angle in radians.")


def _complement(x: Any) -> Any:
    """1 - x^2, with the digits of (1 - x)(1 + x) near 1; its slope -2 x is no 1 - x less 1 + x."""
    y = 1.0 - x * x
    return y + stop_gradient((1.0 - x) * (1.0 + x) - y)


arcsin = _named("arcsin", np.arcsin, lambda y, x: 1.0 / sqrt(_complement(x)),
                r"\arcsin({0})", r"\frac{{1}}{{\sqrt{{1 - {0}^2}}}}",
                "y = arcsin x,    dy/dx = (1 - x^2)^(-1/2)", "array([0.        , 0.52359878])",
                domain=INSIDE, singular=True, singular_at=[(1.0,), (-1.0,)],
                sentence="The inverse sine, in radians.")
arccos = _named("arccos", np.arccos, lambda y, x: -1.0 / sqrt(_complement(x)),
                r"\arccos({0})", r"-\frac{{1}}{{\sqrt{{1 - {0}^2}}}}",
                "y = arccos x,    dy/dx = -(1 - x^2)^(-1/2)", "array([1.57079633, 1.04719755])",
                domain=INSIDE, singular=True, singular_at=[(1.0,), (-1.0,)],
                sentence="The inverse cosine, in radians.")


def _length(x: Any, z: Any) -> Any:
    """(x^2 + z^2)^(1/2) without squares, which would leave the range of floats."""
    if x.dtype.kind == "c":
        return sqrt(x * x + z * z)
    return PUBLIC["hypot"](x, z)  # hypotenuse.py stands above this file


def _arctan_slope(x: Any) -> Any:
    """1 / (1 + x^2) as a square: of x^2 and of the square of the sum nothing may overflow."""
    if x.dtype.kind == "c":
        return 1.0 / (1.0 + x * x)
    cosine = 1.0 / _length(x, 1.0)
    return cosine * cosine


arctan = _named("arctan", np.arctan, lambda y, x: _arctan_slope(x), r"\arctan({0})",
                r"\frac{{1}}{{1 + {0}^2}}", "y = arctan x,    dy/dx = 1 / (1 + x^2)",
                "array([0.        , 0.46364761])", sentence="The inverse tangent, in radians.")


sinh = _named("sinh", np.sinh, lambda y, x: cosh(x), r"\sinh({0})", r"\cosh({0})",
              "y = (e^x - e^-x) / 2,    dy/dx = cosh x", "array([0.        , 0.52109531])",
              sentence="The hyperbolic sine.", rule="hyperbolic functions")
cosh = _named("cosh", np.cosh, lambda y, x: sinh(x), r"\cosh({0})", r"\sinh({0})",
              "y = (e^x + e^-x) / 2,    dy/dx = sinh x", "array([1.        , 1.12762597])",
              sentence="The hyperbolic cosine.", rule="hyperbolic functions")


ONE = np.ones(())


def _tanh_vjp(dy: Any, y: Any, x: Any, needs: Any) -> tuple[Any]:
    """The product dy (1 - y^2); NumPy takes half the time for a 1 in an array of no axes."""
    usual = y.__class__ is ndarray and y.dtype is ONE.dtype
    return (dy * ((ONE if usual else 1.0) - y * y),)


tanh = _named("tanh", np.tanh, lambda y, x: 1.0 - y * y, r"\tanh({0})", "1 - {y}^2",
              "y = tanh x,    dy/dx = 1 - y^2", "array([0.        , 0.46211716])",
              sentence="The hyperbolic tangent.", rule="hyperbolic functions", vjp=_tanh_vjp)
arcsinh = _named("arcsinh", np.arcsinh, lambda y, x: 1.0 / _length(x, 1.0),
                 r"\mathrm{{arsinh}}({0})", r"\frac{{1}}{{\sqrt{{1 + {0}^2}}}}",
                 "y = ln(x + (x^2 + 1)^(1/2)),    dy/dx = (1 + x^2)^(-1/2)",
                 "array([0.        , 0.48121183])", sentence="The inverse hyperbolic sine.",
                 rule="hyperbolic functions")
arccosh = elementwise(
    "arccosh", np.arccosh, lambda y, x: 1.0 / (sqrt(x - 1.0) * sqrt(x + 1.0)), numpy=[np.arccosh],
    scalar=math.acosh, singular=True, domain=(1.2, 3.0), singular_at=[(1.0,)],
    label=Label("arccosh({0})", r"\mathrm{{arcosh}}({0})",
                (r"\frac{{1}}{{\sqrt{{{0}^2 - 1}}}}",), "chain rule for hyperbolic functions"),
    doc="""The inverse hyperbolic cosine.

        y = ln(x + (x^2 - 1)^(1/2)),    dy/dx = (x^2 - 1)^(-1/2)

    >>> ad.arccosh([1.0, 2.0])
    array([0.        , 1.3169579])
    """)
arctanh = _named("arctanh", np.arctanh, lambda y, x: 1.0 / _complement(x),
                 r"\mathrm{{artanh}}({0})", r"\frac{{1}}{{1 - {0}^2}}",
                 "y = ln((1 + x) / (1 - x)) / 2,    dy/dx = 1 / (1 - x^2)",
                 "array([0.        , 0.54930614])", domain=INSIDE, singular=True,
                 singular_at=[(1.0,), (-1.0,)], sentence="The inverse hyperbolic tangent.",
                 rule="hyperbolic functions")
