"""The hypotenuse and the angle: their derivatives keep their digits at any size of the legs."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from adjoint.core.primitive import Label

from .declare import elementwise
from .select import where
from .special import lowered_as

ORIGIN = [(0.0, 0.0)]


def _leg_value(x: Any, z: Any) -> Any:
    """X / y of a triangle's leg and hypotenuse, and 0 at the corner."""
    y = np.hypot(x, z)
    return np.divide(x, np.where(y == 0, y.dtype.type(1), y))


def _leg_slope(x: Any, z: Any, by: Any) -> Any:
    """z^2 / y^3 for ``by`` z / y, -x z / y^3 for -x / y: products, where 1 - (x / y)^2 cancels."""
    y = hypot(x, z)
    corner = y == 0
    return _leg(z, x) * where(corner, 0.0, by / where(corner, 1.0, y))


def _leg_own(x: Any, z: Any) -> Any:
    with np.errstate(divide="ignore"):
        return where(hypot(x, z) == 0, np.inf, _leg_slope(x, z, _leg(z, x)))


_leg = elementwise(
    "special._leg", _leg_value, lambda y, x, z: _leg_own(x, z),
    lambda y, x, z: _leg_slope(x, z, -y), singular=True,
    domain=(0.3, 2.0), singular_at=ORIGIN,
    lower=lowered_as(lambda x, z: x / where(hypot(x, z) == 0, 1.0, hypot(x, z))),
    label=Label("{0} / hypot({0}, {1})", r"\frac{{{0}}}{{\sqrt{{{0}^2 + {1}^2}}}}",
                (r"\frac{{{1}^2}}{{({0}^2 + {1}^2)^{{3/2}}}}",
                 r"-\frac{{{0}\,{1}}}{{({0}^2 + {1}^2)^{{3/2}}}}"), "quotient rule", "*^"))
hypot = elementwise(
    "hypot", np.hypot, lambda y, x, z: _leg(x, z), lambda y, x, z: _leg(z, x),
    numpy=[np.hypot], kinks=ORIGIN, kink=lambda x, z: np.equal(x, 0) & np.equal(z, 0),
    label=Label("hypot({0}, {1})", r"\sqrt{{{0}^2 + {1}^2}}",
                (r"\frac{{{0}}}{{{y}}}", r"\frac{{{1}}}{{{y}}}"), "chain rule for the square root"),
    doc="""The length of the hypotenuse; its gradient where both legs are 0 is 0.

        y = (x^2 + z^2)^(1/2),    dy/dx = x / y,    dy/dz = z / y

    >>> ad.hypot(3.0, [4.0, 0.0])
    array([5., 3.])
    """)


# ---- the angle

def _turn_value(x: Any, z: Any) -> Any:
    """X / (x^2 + z^2), and 0 at the corner, where the angle has no direction."""
    y = np.hypot(x, z)
    y = np.where(y == 0, y.dtype.type(1), y)
    return x / y / y


def _turn_slope(x: Any, z: Any) -> Any:
    """(z^2 - x^2) / (x^2 + z^2)^2 of legs as shares of the hypotenuse; infinite at the corner."""
    y = hypot(x, z)
    first, second = _leg(x, z), _leg(z, x)
    y = where(y == 0, 1.0, y)
    with np.errstate(divide="ignore"):
        return where(hypot(x, z) == 0, np.inf, (second - first) * (second + first) / y / y)


def _turn_other(x: Any, z: Any) -> Any:
    """-2 x z / (x^2 + z^2)^2: the legs first, as their product is not larger than 1."""
    y = hypot(x, z)
    y = where(y == 0, 1.0, y)
    return -2.0 * _leg(x, z) * _leg(z, x) / y / y


_turn = elementwise(
    "special._turn", _turn_value, lambda y, x, z: _turn_slope(x, z),
    lambda y, x, z: _turn_other(x, z), singular=True, domain=(0.3, 2.0), singular_at=ORIGIN,
    lower=lowered_as(lambda x, z: _leg(x, z) / where(hypot(x, z) == 0, 1.0, hypot(x, z))),
    label=Label("{0} / hypot({0}, {1})^2", r"\frac{{{0}}}{{{0}^2 + {1}^2}}",
                (r"\frac{{{1}^2 - {0}^2}}{{({0}^2 + {1}^2)^2}}",
                 r"-\frac{{2\,{0}\,{1}}}{{({0}^2 + {1}^2)^2}}"), "quotient rule", "*^"))
arctan2 = elementwise(
    "arctan2", np.arctan2, lambda y, x, z: _turn(z, x), lambda y, x, z: -_turn(x, z),
    numpy=[np.arctan2], scalar=math.atan2, singular=True,
    label=Label("arctan2({0}, {1})", r"\mathrm{{atan2}}({0}, {1})",
                (r"\frac{{{1}}}{{{0}^2 + {1}^2}}", r"-\frac{{{0}}}{{{0}^2 + {1}^2}}"),
                "chain rule for trigonometric functions"),
    domain=(0.3, 2.0), singular_at=[(0.0, 0.0)],
    doc="""The angle of the point (z, x) from the first axis, in radians.

    Its gradient at the origin is 0.

        y = atan2(x, z),    dy/dx = z / (x^2 + z^2),    dy/dz = -x / (x^2 + z^2)

    >>> ad.arctan2([1.0, -1.0], 1.0)
    array([ 0.78539816, -0.78539816])
    """)
