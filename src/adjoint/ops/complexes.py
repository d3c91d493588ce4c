"""Complex numbers: the parts, the conjugate, and why these are real-linear and nothing else is.

Rules compute with transposes: inside a sweep the cotangent of a complex y is dL/dRe y - i dL/dIm y,
so that a holomorphic row needs no conjugation. What leaves the sweep is conjugated once and is then
dL/dRe x + i dL/dIm x, the direction of steepest ascent (PyTorch's convention).
"""

from __future__ import annotations

from functools import wraps
from typing import Any

import numpy as np

from adjoint.core.box import Box
from adjoint.core.primitive import Label
from adjoint.scalars import as_changeable, note_view

from . import loops
from .cases import elementwise_cases
from .declare import Function, batch_elementwise, function, general, known_elementwise

REALS = elementwise_cases([(-2.0, 2.0)])


def _part(name: str, impl: Any, back: Any, latex: str, doc: str, numpy: Any) -> Any:
    """A real-linear row with one argument: its jvp is itself."""
    def jvp(dxs: Any, y: Any, x: Any) -> Any:
        return None if dxs[0] is None else row(dxs[0])

    def vjp(dy: Any, y: Any, x: Any, needs: Any) -> tuple[Any]:
        return (back(dy, x.dtype.kind == "c"),)

    def lower(b: loops.Builder, x: Any) -> Any:
        return b.elementwise(name, x)
    row = general(
        name, impl, arity=1, jvp=jvp, vjp=vjp, lower=lower, elementwise=True, doc=doc, numpy=numpy,
        aval=known_elementwise(name, impl), batch=batch_elementwise(name), depends="elementwise",
        cases=REALS, label=Label(
            name + "({0})", latex, (r"-i\,[\mathrm{{complex}}({0})]" if name == "imag" else "1",),
            "complex part", "((", (r"\overline{{{dy}}}" if name == "conjugate" else "",)))
    return row


def _real(x: Any) -> Any:
    z: Any = np.asarray(x)
    return z.real.copy()[()]


def _imag(x: Any) -> Any:
    z: Any = np.asarray(x)
    return z.imag.copy()[()]


real = _part(
    "real", _real, lambda dy, whole: dy, r"\mathrm{{Re}}({0})", """The real part.

        y = Re x,    dL/dRe x = dL/dy

    >>> ad.real(1.0 + 2.0j)
    np.float64(1.0)
    """, [np.real])
imag = _part(
    "imag", _imag, lambda dy, whole: dy * -1j if whole else None, r"\mathrm{{Im}}({0})",
    """The imaginary part, 0 for real numbers.

        y = Im x,    dL/dIm x = dL/dy

    >>> ad.imag(1.0 + 2.0j)
    np.float64(2.0)
    """, [np.imag])
conjugate = _part(
    "conjugate", np.conjugate, lambda dy, whole: conjugate(dy), r"\overline{{{0}}}",
    """The complex conjugate; real numbers stay as they are.

        y = Re x - i Im x

    >>> ad.conjugate(1.0 + 2.0j)
    np.complex128(1-2j)
    """, [np.conjugate])


def _viewed(f: Function) -> Function:
    """``f`` with NumPy's memory: the parts are views, and the real part of reals is the array."""
    @wraps(f)
    def apply(x: Any) -> Any:
        if isinstance(x, Box) and x.dtype.kind != "c":
            return x if f is real else as_changeable(x, f(x))
        return note_view(as_changeable(x, f(x)), x)
    return apply


for _numpy, _function in ((np.real, real), (np.imag, imag)):
    function(_numpy, kind=_viewed)(_function)
