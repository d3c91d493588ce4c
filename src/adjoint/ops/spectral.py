"""Eigenvalues and eigenvectors, of symmetric and of general matrices.

What holds where some are equal stands in ``degenerate.py``. Cotangents are conjugated on the way in
and out (see ``complexes.py``): between, the formulas are those of the literature, with the inner
product Re tr(X^H Y). One array holds the results, and the public function takes it apart.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from adjoint.core.box import Box
from adjoint.core.forward import Dual
from adjoint.core.node import aval
from adjoint.core.primitive import Label
from adjoint.core.reverse import Tracked
from adjoint.errors import ArgumentError

from .arithmetic import astype
from .cases import draw
from .complexes import imag, real
from .degenerate import blocks_of, clusters, gaps, guard, shared, within
from .determinant import inv
from .matrices import (
    adjoint,
    conj,
    converged,
    eye_like,
    is_square,
    offered,
    real_of,
    real_part,
    row,
    square,
    square_cases,
    wide,
)
from .select import where
from .shape import concatenate

# ---- eigh. One array holds the results: the values in row 0, the vectors below

def hermitian(x: Any) -> Any:
    """(x + x^H) / 2."""
    return (x + adjoint(x)) / 2


def rotated(w: Any, v: Any, *others: Any) -> None:
    """Turn the vectors of equal values, in place, by a rotation that knows no special direction."""
    for index, members in blocks_of(w):
        n = len(members)
        turn = np.linalg.qr(np.random.default_rng(n).normal(size=(n, n)))[0].astype(w.dtype)
        for matrix in (v, *others):
            matrix[index][:, members] = matrix[index][:, members] @ turn


def turns(x: Any) -> bool:
    """Whether a gradient of ``x`` is being recorded, and no tangent flows."""
    found = False
    while isinstance(x, Box):
        if isinstance(x, Dual):
            return False
        found = found or (isinstance(x, Tracked) and x.node is not None)
        x = x.value
    return found


def _eigh_impl(x: Any, turn: bool) -> Any:
    h = np.asarray(hermitian(x.astype(wide(x.dtype), copy=False)))
    w, v = converged("eigh", np.linalg.eigh, h)
    if turn:
        rotated(w, v)
    return np.concatenate([w[..., None, :].astype(v.dtype), v], -2)


def _eigh_known(x: Any, turn: bool) -> Any:
    is_square("eigh", x)
    n = x.shape[-1]
    return aval((*x.shape[:-2], n + 1, n), wide(x.dtype))


def _split(y: Any) -> tuple[Any, Any]:
    return real_part(y[..., 0, :]), y[..., 1:, :]


def _eigh_jvp(dxs: Any, y: Any, x: Any, turn: bool) -> Any:
    """With dw = diag(V^H dX V), dV = V (F o V^H dX V), F_ij = 1 / (w_j - w_i)."""
    if dxs[0] is None:
        return None
    w, v = _split(y)
    k = guard(adjoint(v) @ hermitian(dxs[0]) @ v, w[..., None, :], check="unsplit")
    dw = (k * eye_like(w)).sum(-2)[..., None, :]
    return concatenate([dw, v @ (gaps(w) * k)], axis=-2)


def _eigh_vjp(dy: Any, y: Any, x: Any, needs: Any, turn: bool) -> Any:
    """With dX = V (diag(wbar) + F o skew(V^H Vbar)) V^H, and in blocks what `_within` says."""
    w, v = _split(y)
    dw, dv = _split(conj(dy))
    q = adjoint(v) @ dv / 2
    if q.dtype.kind == "c":
        q = guard(q, w[..., None, :], check="phase")
    inner = within(dw[..., None, :], q, w[..., None, :]) + gaps(w) * (q - adjoint(q))
    return (conj(hermitian(v @ inner @ adjoint(v))),)


def symmetric(rng: np.random.Generator, *shape: int) -> Any:
    """A symmetric matrix with separate eigenvalues."""
    n = shape[-1]
    x = draw(rng, shape, (-1.0, 1.0))
    return (x + np.swapaxes(x, -1, -2)) / 4 + np.diag(2.0 * np.arange(n) + 1.0)


_eigh = row(
    "eigh", _eigh_impl, _eigh_known,
    Label("eigh({0})", r"\mathrm{{eigh}}({0})", (r"(V^\top\,[\cdot]\,V)_{{ii}}",),
          "perturbation of eigenvalues", "((",
          ((r"V\,(\mathrm{{diag}}(\bar{{w}}) + F \odot Q)\,V^\top,\ "
           r"Q = \mathrm{{skew}}(V^\top\,\bar{{V}})"),),
          work="9*n^3"),
    square_cases({"turn": False}, make=symmetric), jvp=_eigh_jvp, vjp=_eigh_vjp,
    keeps=frozenset("y"))


def _eigvalsh_impl(x: Any) -> Any:
    h = np.asarray(hermitian(x.astype(wide(x.dtype), copy=False)))
    return converged("eigvalsh", np.linalg.eigvalsh, h)


def _eigvalsh_known(x: Any) -> Any:
    is_square("eigvalsh", x)
    return aval(x.shape[:-1], real_of(x.dtype))


def _eigvalsh_jvp(dxs: Any, y: Any, x: Any) -> Any:
    if dxs[0] is None:
        return None
    _, v = _split(_eigh(x, turn=False))
    dw = (conj(v) * (hermitian(dxs[0]) @ v)).sum(-2)
    return shared(real_part(dw), y)


def _eigvalsh_vjp(dy: Any, y: Any, x: Any, needs: Any) -> Any:
    _, v = _split(_eigh(x, turn=False))
    return (conj(hermitian((v * shared(dy, y)[..., None, :]) @ adjoint(v))),)


_eigvalsh = row(
    "eigvalsh", _eigvalsh_impl, _eigvalsh_known,
    Label("eigvalsh({0})", r"\lambda({0})", (r"(V^\top\,[\cdot]\,V)_{{ii}}",),
          "perturbation of eigenvalues", "((", (r"V\,\mathrm{{diag}}({dy})\,V^\top",),
          work="4*n^3/3"),
    square_cases(make=symmetric), jvp=_eigvalsh_jvp, vjp=_eigvalsh_vjp, keeps=frozenset({0, "y"}),
    kink=lambda x: (clusters(np.linalg.eigvalsh(hermitian(x))).sum(-1) > 1))


def triangle(name: str, x: Any, uplo: Any) -> Any:
    """The Hermitian matrix that one triangle stands for; with None the Hermitian part of x."""
    x = square(name, x)
    if uplo is None:
        return x
    if uplo not in ("L", "U", "l", "u"):
        raise ArgumentError(f"{name}: UPLO is 'L' or 'U', not {uplo!r}")
    mask = np.tril(np.ones(x.shape[-2:], bool))
    mask = mask if uplo in ("L", "l") else mask.T
    return where(mask, x, adjoint(x))


@offered("eigh", np.linalg.eigh)
def eigh(a: Any, UPLO: Any = None) -> Any:
    """The eigenvalues, ascending, and eigenvectors of a real symmetric or complex Hermitian matrix.

        A = V diag(w) V^H,    dw = diag(V^H dA V),    dV = V (F o V^H dA V),  F_ij = 1/(w_j - w_i)

    Without ``UPLO`` the Hermitian part (A + A^H)/2 counts and the gradient is symmetric; with "L"
    or "U" only that triangle is read, and the other gets gradient 0. Args: ``a`` of shape (..., n,
    n). Returns a named tuple (eigenvalues (..., n), eigenvectors (..., n, n), in columns).

    With equal eigenvalues reverse mode is right for functions phi(V g(w) V^H) + h(w), whose
    derivative the cotangents reveal, and a MatrixError for others: those that depend on the choice
    of vectors, and those it cannot tell (in a block of two, sums of both kinds). While a gradient
    is recorded the vectors of equal values are another choice than NumPy's. Forward mode raises if
    the direction splits equal eigenvalues, second derivatives always. `eigvalsh` has no such limits
    at first order. Raises ShapeError if a is not square. Source: Giles (2008), section 2.2.5;
    Seeger et al. (2017), "Auto-differentiating linear algebra"; Magnus & Neudecker, chapter 9.

    >>> ad.grad(lambda a: ad.linalg.eigh(a).eigenvalues[1])(np.diag([1.0, 2.0]))
    array([[0., 0.],
           [0., 1.]])
    """
    x = triangle("eigh", a, UPLO)
    return EIGH(*_split(_eigh(x, turn=turns(x))))


@offered("eigvalsh", np.linalg.eigvalsh)
def eigvalsh(a: Any, UPLO: Any = None) -> Any:
    """The eigenvalues, ascending, of a real symmetric or complex Hermitian matrix.

        dw = diag(V^H dA V),    dL/dA = V diag(dL/dw) V^H

    Equal eigenvalues share their cotangents (as ties of ``max`` do), which is exact for symmetric
    functions such as sums, norms and extremes; a second derivative there is a MatrixError. Args and
    ``UPLO`` as in `eigh`. Source: Magnus & Neudecker, chapter 9; Giles (2008), section 2.2.5.

    >>> ad.grad(lambda a: ad.linalg.eigvalsh(a).sum())(np.ones((2, 2))).round(12)
    array([[1., 0.],
           [0., 1.]])
    """
    return _eigvalsh(triangle("eigvalsh", a, UPLO))


EIGH: Any = type(np.linalg.eigh(np.eye(1)))


# ---- eig: values in row 0, vectors below, of the real parts and then of the imaginary ones

def _packed(w: Any, v: Any) -> Any:
    y = concatenate([w[..., None, :], v], axis=-2)
    return concatenate([real(y), imag(y)], axis=-2)


def _eig_impl(x: Any) -> Any:
    w, v = converged("eig", np.linalg.eig, x)
    return _packed(w, v)


def _eig_known(x: Any) -> Any:
    is_square("eig", x)
    n = x.shape[-1]
    return aval((*x.shape[:-2], 2 * n + 2, n), real_of(x.dtype))


def _eig_parts(y: Any) -> tuple[Any, Any]:
    n = y.shape[-1] + 1
    y = y[..., :n, :] + y.dtype.type(1) * np.complex64(1j) * y[..., n:, :]
    return y[..., 0, :], y[..., 1:, :]


def _differentiable(y: Any, x: Any) -> tuple[Any, Any]:
    w, v = _eig_parts(y)
    known = concatenate([w[..., None, :], v, astype(x, v.dtype)], axis=-2)
    return w, guard(v, known, check="distinct")


def _eig_jvp(dxs: Any, y: Any, x: Any) -> Any:
    """With K = V^-1 dX V: dw = diag(K), dV = V (F o K), less what changes the lengths."""
    if dxs[0] is None:
        return None
    w, v = _differentiable(y, x)
    k = inv(v) @ dxs[0] @ v
    dv = v @ (gaps(w) * k)
    dv = dv - v * real((conj(v) * dv).sum(-2))[..., None, :]
    return _packed((k * eye_like(k)).sum(-2), dv)


def _eig_vjp(dy: Any, y: Any, x: Any, needs: Any) -> Any:
    """With Q = V^H Vbar: V^-H (diag(wbar) + conj(F) o (Q - V^H V diag(Re diag Q))) V^H."""
    w, v = _differentiable(y, x)
    dw, dv = _eig_parts(dy)
    if x.dtype.kind != "c":  # the vector of a real eigenvalue is real: it has no phase
        dv = where((imag(w) == 0)[..., None, :], real(dv), dv)
    eye = eye_like(v)
    q = guard(adjoint(v) @ dv, w[..., None, :], check="phase")
    q = q - (adjoint(v) @ v) * real((q * eye).sum(-2))[..., None, :]
    inner = dw[..., None, :] * eye + conj(gaps(w)) * q
    dx = conj(adjoint(inv(v)) @ inner @ adjoint(v))
    return (dx if x.dtype.kind == "c" else real(dx),)


def _distinct(rng: np.random.Generator, *shape: int) -> Any:
    return draw(rng, shape, (-0.3, 0.3)) + np.diag(2.0 * np.arange(shape[-1]) + 1.0)


_eig = row(
    "eig", _eig_impl, _eig_known,
    Label("eig({0})", r"\mathrm{{eig}}({0})", (r"(V^{{-1}}\,[\cdot]\,V)_{{ii}}",),
          "perturbation of eigenvalues", "((",
          ((r"V^{{-\top}}\,(\mathrm{{diag}}(\bar{{w}}) + F \odot (Q - V^\top V\,"
            r"\mathrm{{diag}}(Q)))\,V^\top,\ Q = V^\top\,\bar{{V}}"),),
          work="25*n^3"),
    square_cases(make=_distinct), jvp=_eig_jvp, vjp=_eig_vjp, keeps=frozenset({0, "y"}))


@offered("eig", np.linalg.eig)
def eig(a: Any) -> Any:
    """The eigenvalues and eigenvectors (columns of length 1) of a general matrix, as a named tuple.

        dw = diag(V^-1 dA V),    dV = V (F o V^-1 dA V),  F_ij = 1/(w_j - w_i)

    Results are always complex (NumPy's are real if all eigenvalues are). Args: ``a`` (..., n, n).
    Raises MatrixError for a derivative where eigenvalues are equal, or of a function that depends
    on the phases of the vectors. Use `eigh` for symmetric matrices. Source: Giles (2008), section
    2.2.5; Boeddeker et al. (2017), "On the computation of complex-valued gradients", section 4.

    >>> ad.linalg.eig([[1.0, 0.0], [0.0, 2.0]]).eigenvalues.real
    array([1., 2.])
    """
    return EIG(*_eig_parts(_eig(square("eig", a))))


@offered("eigvals", np.linalg.eigvals)
def eigvals(a: Any) -> Any:
    """The eigenvalues of a general matrix, always complex.

        dw = diag(V^-1 dA V)

    Args: ``a`` (..., n, n). Raises as `eig` does. Source: Magnus & Neudecker, chapter 9.

    >>> ad.grad(lambda a: ad.linalg.eigvals(a).real.max())(np.diag([1.0, 2.0]))
    array([[0., 0.],
           [0., 1.]])
    """
    return eig(a).eigenvalues


EIG: Any = type(np.linalg.eig(np.eye(1)))
