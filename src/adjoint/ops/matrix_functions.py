"""Functions of a square matrix: exponential, logarithm, square root. They need SciPy."""

from __future__ import annotations

from typing import Any

import numpy as np

from adjoint.core.node import MODES, aval
from adjoint.core.primitive import Label
from adjoint.errors import MatrixError

from .cases import draw
from .degenerate import guard
from .matrices import flip, is_square, offered, row, square, square_cases, wide
from .select import logical_and, where
from .shape import concatenate
from .units import size_of


def _of_matrices(name: str, f: Any, doc: str, example: Any, latex: str, regular: str
                 ) -> Any:
    """A matrix function whose Frechet derivative is a block: f([[A, E], [0, A]]).

    ``regular`` says what needs a regular matrix: the "value", the "derivative" or "nothing".
    """
    def impl(x: Any) -> Any:
        x = np.asarray(x).astype(wide(x.dtype), copy=False)
        if not x.size:
            return np.zeros(x.shape, x.dtype)
        flat = x.reshape(-1, *x.shape[-2:])
        y = np.stack([f(part.astype(np.result_type(x.dtype, float))) if np.isfinite(part).all()
                      else np.full(part.shape, np.nan) for part in flat])
        y = y.reshape(x.shape)
        if y.dtype.kind == "c" and x.dtype.kind != "c":
            raise MatrixError(f"{name}: the result of this real matrix is complex (it has "
                              "eigenvalues that are negative); write x.astype(complex) first")
        if not np.isfinite(y).all() and np.isfinite(x).all():
            raise MatrixError(f"{name}: the matrix of shape {x.shape[-2:]} has no {name}, or it "
                              "overflows; it may be singular")
        return y.astype(x.dtype, copy=False)

    def known(x: Any) -> Any:
        is_square(name, x)
        return aval(x.shape, wide(x.dtype))

    def derivative(x: Any, e: Any) -> Any:
        n = x.shape[-1]
        e = guard(e, x, check="regular") if regular == "derivative" else e
        unit = _ratio(e, x) if x.size else np.ones(())
        zero = np.zeros(x.shape, x.dtype)
        upper, lower = concatenate([x, e / unit], axis=-1), concatenate([zero, x], axis=-1)
        return apply(concatenate([upper, lower], axis=-2))[..., :n, n:] * unit

    apply = row(
        name, impl, known,
        Label(name + "({0})", latex, (r"L({0}, \cdot)",), "Frechet derivative", "(^",
              (r"L({0}^\top, {dy})",)),
        square_cases(make=example),
        jvp=lambda dxs, y, x: None if dxs[0] is None else derivative(x, dxs[0]),
        vjp=lambda dy, y, x, needs: (derivative(flip(x), dy),), keeps=frozenset({0}))

    def public(x: Any) -> Any:
        x = square(name, x)
        return apply(guard(x, x, check="regular") if regular == "value" else x)
    public.__doc__ = doc
    return offered(name)(public)


def _ratio(e: Any, x: Any) -> Any:
    """The size of e in that of x: a block of another size would take the digits of x."""
    own, size = size_of(e, (-2, -1)), size_of(x, (-2, -1))
    ratio = own / where(size > 0, size, size.dtype.type(1))
    return where(logical_and(ratio > 0, ratio < np.inf), ratio, ratio.dtype.type(1))


def _scipy(name: str) -> Any:
    def call(x: Any) -> Any:
        import scipy.linalg
        f = getattr(scipy.linalg, name)
        return np.asarray(f(x) if MODES.get().trace is None else _undrawn(f, x))
    return call


def _undrawn(f: Any, x: Any) -> Any:
    """``f(x)`` with NumPy's common stream put back: SciPy's `logm` estimates norms by drawing.

    While `ad.jit` traces, a stream that has moved on is that of a function which draws.
    """
    state = np.random.get_state()  # noqa: NPY002 - SciPy's, and the user's
    try:
        return f(x)
    finally:
        np.random.set_state(state)  # noqa: NPY002


def _positive(rng: np.random.Generator, *shape: int) -> Any:
    return draw(rng, shape, (-0.5, 0.5)) + 2.0 * np.eye(shape[-1])


expm = _of_matrices("expm", _scipy("expm"), """The exponential of a matrix, sum_k X^k / k!.

    Its derivative along E is the upper right block of exp([[X, E], [0, X]]), so it has derivatives
    of every order. Args: ``x`` (..., n, n). Raises ShapeError if it is not square, MatrixError if
    it overflows. Needs SciPy. Source: Higham, "Functions of Matrices", section 3.2; Al-Mohy &
    Higham (2009), "Computing the Frechet derivative of the matrix exponential"; Mathias (1996).

    >>> ad.linalg.expm([[0.0, 1.0], [0.0, 0.0]])
    array([[1., 1.],
           [0., 1.]])
    """, _positive, r"e^{{{0}}}", "nothing")
logm = _of_matrices("logm", _scipy("logm"), """The principal logarithm of a matrix, inverse of expm.

    Derivatives by the block form, as in `expm`. Args: ``x`` (..., n, n) without eigenvalues that
    are 0 or negative. Raises ShapeError if it is not square, MatrixError if it is singular or the
    result would be complex for a real matrix. Needs SciPy. Source: Higham, "Functions of Matrices",
    chapters 3, 11.

    >>> ad.linalg.logm(np.diag([1.0, np.e])).round(12) + 0.0
    array([[0., 0.],
           [0., 1.]])
    """, _positive, r"\log({0})", "value")
sqrtm = _of_matrices("sqrtm", _scipy("sqrtm"), """The principal square root of a matrix.

    Derivatives by the block form, as in `expm`. Args: ``x`` (..., n, n) without eigenvalues that
    are negative. Raises ShapeError if it is not square, MatrixError if the result would be complex
    for a real matrix, or for a derivative at a singular one. Needs SciPy. Source: Higham,
    "Functions of Matrices", chapters 3, 6.

    >>> ad.linalg.sqrtm(np.diag([4.0, 9.0]))
    array([[2., 0.],
           [0., 3.]])
    """, _positive, r"{0}^{{1/2}}", "derivative")
