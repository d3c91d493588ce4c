"""What holds where eigenvalues or singular values are equal, or nearly so.

Eigenvectors of equal eigenvalues are determined up to a rotation among themselves (the gauge), and
a cotangent can only be right if the function does not depend on it. With equal eigenvalues

- the values alone (eigvalsh, svdvals, norms) have derivatives: ties share, as in ``max``;
- reverse mode through vectors is right or an error. In a block of equal eigenvalues the diagonal of
  the gradient is known from the cotangents, the rest is not. It is found for functions
  phi(V g(l) V^H) + h(l), phi(V g(l) V^H) or h(l): there it is a multiple of the symmetric part of
  V^H Vbar, plus a multiple of I. While a gradient is recorded the vectors of a block are turned by
  a fixed arbitrary rotation, so that agreement on the diagonal cannot be an accident;
- forward mode through vectors is right where the direction splits nothing, and else an error;
- the second derivative is an error.

Values count as equal if they differ by less than a few roundings of the largest. Where they nearly
are, derivatives through vectors lose digits in proportion to 1/gap, as the vectors themselves do,
but not those of the functions above; second derivatives lose 1/gap^2, and are an error where
too few are left.

Cotangents are conjugated on the way in and out (see ``complexes.py``): between, the formulas are
those of the literature, with the inner product Re tr(X^H Y).
"""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from adjoint.core.node import aval
from adjoint.core.primitive import Label
from adjoint.errors import MatrixError

from .cases import Case, Cases, draw
from .determinant import is_rounding
from .matrices import NO_SCALARS, at, eye_like, row, singular, wide
from .shape import broadcast_to, unbroadcast

if TYPE_CHECKING:
    from collections.abc import Iterator


CLOSE = 64.0  # eigenvalues that differ by less than this many roundings of the largest are equal
NEAR = 1e3  # the second derivative loses eps/gap^2: it needs gaps larger than sqrt(NEAR eps)
GAUGE = 1e-6  # what a function independent of the gauge may show of it, relative to its cotangents


# ---- which values are equal

def _roundings(w: Any) -> float:
    """What counts as equal, relative to the largest of the values."""
    return CLOSE * float(np.finfo(w.dtype).eps) * max(w.shape[-1], 1)


def tolerance(w: Any) -> Any:
    """What counts as equal among the values w of one matrix, in the shape (..., 1)."""
    return _roundings(w) * largest_of(w)


def largest_of(w: Any) -> Any:
    """The largest absolute value of each matrix, in the shape (..., 1)."""
    return np.maximum.reduce(np.abs(w), axis=-1, keepdims=True, initial=0.0)


def slack(w: Any) -> float:
    """What rounding may show of the gauge, relative to the cotangents."""
    return GAUGE if np.finfo(w.dtype).eps < GAUGE / 100 else 1e-3


def clusters(w: Any) -> Any:
    """A mask (..., n, n): whether values i and j, which are sorted, hang together."""
    if w.shape[-1] == 0:
        return np.zeros((*w.shape, 0), bool)
    jump = np.abs(w[..., 1:] - w[..., :-1]) > tolerance(w)
    if jump.all():
        return np.broadcast_to(np.eye(w.shape[-1], dtype=bool), (*w.shape, w.shape[-1]))
    number = np.concatenate([np.zeros((*w.shape[:-1], 1), int), np.cumsum(jump, -1)], -1)
    return number[..., :, None] == number[..., None, :]


def blocks_of(w: Any, roundings: float = 0.0) -> Iterator[tuple[tuple[int, ...], Any]]:
    """(index in the stack, positions) of each block of two or more equal values.

    Or of near ones: those that differ by less than the root of so many roundings, relatively.
    """
    share = max(_roundings(w), sqrt(roundings * float(np.finfo(w.dtype).eps)))
    separate = np.abs(w[..., 1:] - w[..., :-1]) > share * largest_of(w)
    if separate.all():
        return
    joined = ~separate  # so that a NaN is equal to all
    for index in map(tuple, np.argwhere(joined.any(-1))):
        cuts = np.flatnonzero(~joined[index]) + 1
        for members in np.split(np.arange(w.shape[-1]), cuts):
            if len(members) > 1:
                yield tuple(map(int, index)), members


def values_at(w: Any, index: Any, members: Any) -> str:
    """Equal values, for messages."""
    shown = ", ".join(f"{v:.6g}" for v in w[index][members])
    equal = np.abs(np.diff(w[index][members])).max() <= tolerance(w[index])[0]
    return (f"the values {shown} (positions {members.tolist()}{at(index)}) are "
            f"{'equal' if equal else 'nearly equal'}")


def refuse(w: Any, index: Any, members: Any, why: str) -> NoReturn:
    """Raise the error for a derivative that equal values do not have."""
    raise MatrixError(
        f"eigh/svd: {values_at(w, index, members)}, and {why}. Use functions of the values alone "
        "(ad.linalg.eigvalsh, svdvals, norm), of the matrix itself (solve, expm, matrix_power), or "
        "add a small perturbation that separates the values")


# ---- guards: rows that are the identity, or an error

SECOND = "a derivative of second order was asked for, which is not defined by the first ones"
NO_DIGITS = "a second derivative was asked for, of which too few digits would be right"
SPLITS = ("forward mode was asked for a direction that splits them, along which their vectors "
          "jump; reverse mode (ad.grad) knows more")
TURNS = ("the result depends on the choice of their vectors, which is arbitrary, so it has no "
         "derivative")
UNKNOWN = ("the cotangents of the values and vectors do not say what the derivative is (the "
           "function is none of phi(V g(l) V^H) + h(l))")


def _check_separate(x: Any, w: Any) -> None:
    for index, members in blocks_of(w[..., 0, :]):
        refuse(w[..., 0, :], index, members, SECOND)


def _check_apart(x: Any, w: Any) -> None:
    _check_separate(x, w)
    for index, members in blocks_of(w[..., 0, :], NEAR):
        refuse(w[..., 0, :], index, members, NO_DIGITS)


def _check_unsplit(x: Any, w: Any) -> None:
    values = w[..., 0, :]
    for index, members in blocks_of(values):
        block = x[index][np.ix_(members, members)]
        block = block + block.conj().T
        loose = np.abs(block - np.diag(np.diag(block))).max()
        if loose > slack(w) * (np.abs(x).max() + np.finfo(w.dtype).tiny):
            refuse(values, index, members, SPLITS)


def _check_phase(x: Any, w: Any) -> None:
    """The diagonal of V^H Vbar is real: else the result depends on the phase of a vector."""
    loose = np.abs(np.imag(np.diagonal(x, axis1=-2, axis2=-1))).max(initial=0.0)
    if loose > slack(w) * (np.abs(x).max(initial=0.0) + np.finfo(w.dtype).tiny):
        raise MatrixError(
            "eigh/svd: the result depends on the phases of complex vectors, which are arbitrary, "
            "so it has no derivative. Use what does not depend on them: abs(v), v @ v.conj().T")


def _check_unused(x: Any, w: Any) -> None:
    """Vectors of a singular value 0 have a derivative only in functions that ignore them."""
    _check_vectors(x, np.where((x == 0).all(-2)[..., None, :], largest_of(w), w))


def _check_vectors(x: Any, w: Any) -> None:
    """No singular value is 0."""
    values = w[..., 0, :]
    low = np.abs(values) <= tolerance(values)
    if low.any():
        index = tuple(map(int, np.argwhere(low)[0]))
        raise MatrixError(
            f"svd: the singular value{at(index[:-1])} number {index[-1]} is 0, so its vectors are "
            "arbitrary and have no derivative. Use ad.linalg.svdvals or norms where the values are "
            "enough, or reduce the matrix to its rank")


def _check_full(x: Any, w: Any) -> None:
    """Columns that depend on each other, or a rank that a small change would raise."""
    values = np.abs(w[..., 0, :])
    low = values <= tolerance(values)
    if low.any():
        index = tuple(map(int, np.argwhere(low)[0]))
        raise MatrixError(
            f"qr/pinv/lstsq: the matrix{at(index[:-1])} has not full rank (its columns or rows "
            "depend on each other, or rcond takes a singular value for 0), so a small change makes "
            "the result jump and there is no derivative. Drop columns, use ad.linalg.svdvals, or "
            "solve (a.T a + c I) x = a.T b")


def _check_distinct(x: Any, w: Any) -> None:
    """Eigenvalues (row 0) differ by more than rounding moves them; below, vectors and matrix."""
    values, below = w[..., 0, :], w[..., 1:, :]
    bound = np.broadcast_to(tolerance(values), values.shape)
    if below.shape[-2]:
        bound = bound + CLOSE * np.finfo(w.dtype).eps * _spread(*np.split(below, 2, axis=-2))
    near = np.abs(values[..., :, None] - values[..., None, :]) <= np.maximum(
        bound[..., :, None], bound[..., None, :])
    for index in np.argwhere(np.triu(near, 1))[:1]:
        *where_in, i, j = map(int, index)
        raise MatrixError(
            f"eig/eigvals: the eigenvalues {i} and {j}{at(tuple(where_in))} are equal "
            f"({values[(*where_in, i)]:.6g}) as far as rounding can tell, so they and their "
            "vectors have no derivative. ad.linalg.eigvalsh and eigh are for symmetric matrices, "
            "trace, det, matrix_power and expm for functions of all eigenvalues")


def _spread(vectors: Any, matrix: Any) -> Any:
    """How far a relative change of size 1 of the elements of a matrix moves each eigenvalue.

    To first order that is the diagonal of |V^-1| |A| |V|, which no scaling of rows and columns
    changes; a defective matrix has no V^-1.
    """
    try:
        inverse = np.linalg.inv(vectors)
    except np.linalg.LinAlgError:
        return np.full(vectors.shape[:-1], np.inf)
    return np.einsum("...ij,...ji->...i", np.abs(inverse) @ np.abs(matrix), np.abs(vectors))


def _check_columns(x: Any, w: Any) -> None:
    """No column of the triangular w of a QR factorisation depends on those before it."""
    size = np.abs(w).max(-2, initial=0.0)
    height = np.abs(np.diagonal(w, axis1=-2, axis2=-1)) / np.where(size > 0, size, 1)
    _check_full(x, height[..., None, :])


def _check_regular(x: Any, w: Any) -> None:
    """The matrix w is regular as far as rounding can tell."""
    try:
        regular = not is_rounding(w, np.linalg.inv(w))
    except np.linalg.LinAlgError:
        regular = False
    if not regular:
        raise singular("logm, or the derivative of sqrtm", w)


CHECKS = {"columns": _check_columns, "regular": _check_regular,
          "separate": _check_separate, "apart": _check_apart, "unsplit": _check_unsplit,
          "phase": _check_phase, "vectors": _check_vectors, "unused": _check_unused,
          "full": _check_full, "distinct": _check_distinct}


def _guard_impl(x: Any, w: Any, check: str) -> Any:
    lead = np.broadcast_shapes(x.shape[:-2], w.shape[:-2])
    y = np.array(np.broadcast_to(x, (*lead, *x.shape[-2:])), wide(x.dtype))
    CHECKS[check](y, np.broadcast_to(w, (*lead, *w.shape[-2:])))
    return y


def _guard_known(x: Any, w: Any, check: str) -> Any:
    return aval((*np.broadcast_shapes(x.shape[:-2], w.shape[:-2]), *x.shape[-2:]),
                wide(x.dtype))


def _guard_jvp(dxs: Any, y: Any, x: Any, w: Any, check: str) -> Any:
    return None if dxs[0] is None else guard(
        broadcast_to(dxs[0], y.shape), w, check="apart" if check == "unsplit" else check)


def _guard_vjp(dy: Any, y: Any, x: Any, w: Any, needs: Any, check: str) -> Any:
    if not needs[0]:
        return None, None
    return unbroadcast(guard(dy, w, check="apart" if check == "unsplit" else check),
                       x.shape), None


def _guard_cases(rng: np.random.Generator) -> Iterator[Case]:
    w = np.array([[-1.0, 0.5, 2.0]])
    for check in CHECKS:
        p, known = {"check": check}, np.eye(3) if check in ("columns", "regular") else w
        yield Case((draw(rng, (3, 3)), known), p)
        yield Case((draw(rng, (2, 3, 3)), known), p)
        yield Case((draw(rng, (1, 1)), known[:1, :1]), p)
    p = {"check": "separate"}
    yield Case((draw(rng, (3, 3)), np.stack([w, w + 1])), p)
    yield Case((np.zeros((0, 0)), np.zeros((1, 0))), p)
    yield Case((np.asfortranarray(draw(rng, (3, 3))), w[:, ::-1]), p)
    yield Case((np.ones((3, 3), np.float32), w.astype(np.float32)), p)
    yield Case((np.ones((3, 3), int), w), p)


guard = row(
    "_guard", _guard_impl, _guard_known, Label("{0}", "{0}", ("1",), "identity", "  ", ("{dy}",)),
    Cases(_guard_cases, NO_SCALARS, near=True), jvp=_guard_jvp, vjp=_guard_vjp,
    keeps=frozenset({1}))


# ---- sharing among equal values

def _share_impl(x: Any, w: Any) -> Any:
    same = clusters(w[..., 0, :]).astype(w.dtype)
    return x @ (same / same.sum(-1, keepdims=True) if same.size else same)


def _share_jvp(dxs: Any, y: Any, x: Any, w: Any) -> Any:
    return None if dxs[0] is None else guard(
        broadcast_to(dxs[0], y.shape), w, check="separate")


def _share_vjp(dy: Any, y: Any, x: Any, w: Any, needs: Any) -> Any:
    return (unbroadcast(guard(dy, w, check="separate"), x.shape) if needs[0] else None), None


def _share_known(x: Any, w: Any) -> Any:
    return aval((*np.broadcast_shapes(x.shape[:-2], w.shape[:-2]), *x.shape[-2:]),
                np.result_type(x.dtype, w.dtype))


def _share_cases(rng: np.random.Generator) -> Iterator[Case]:
    w = np.array([[-1.0, 0.5, 2.0]])
    yield Case((draw(rng, (1, 3)), w))
    yield Case((draw(rng, (2, 1, 3)), w))
    yield Case((draw(rng, (1, 3)), np.stack([w, w + 1])))
    yield Case((draw(rng, (1, 1)), w[:, :1]))
    yield Case((np.zeros((1, 0)), np.zeros((1, 0))))
    yield Case((np.asfortranarray(draw(rng, (2, 3))), w[:, ::-1]))
    yield Case((np.ones((1, 3), np.float32), w.astype(np.float32)))
    yield Case((np.ones((1, 3), int), w))


_share = row(
    "_share", _share_impl, _share_known,
    Label("share({0})", r"\mathrm{{share}}({0})", ("1",), "ties share", "((", ("{dy}",)),
    Cases(_share_cases, NO_SCALARS, near=True), jvp=_share_jvp, vjp=_share_vjp,
    keeps=frozenset({1}))


def shared(x: Any, w: Any) -> Any:
    """``x`` (..., n), averaged over the positions of equal values of w: at ties all get the same.

    It has no second derivative there.
    """
    return _share(x[..., None, :], w[..., None, :])[..., 0, :]


# ---- the block of equal values in reverse mode

def _within_impl(x: Any, q: Any, w: Any) -> Any:
    """diag(x), and off the diagonal in the blocks of equal w what the cotangents imply."""
    values = w[..., 0, :]
    lead = np.broadcast_shapes(x.shape[:-2], q.shape[:-2], values.shape[:-1])
    n = values.shape[-1]
    y = np.zeros((*lead, n, n), np.result_type(x, q))
    x, q = np.broadcast_to(x, (*lead, 1, n)), np.broadcast_to(q, (*lead, n, n))
    values = np.broadcast_to(values, (*lead, n))
    y[..., np.arange(n), np.arange(n)] = x[..., 0, :]
    near = list(blocks_of(values, 1.0))
    for index, members in blocks_of(values) if near else ():
        block = q[index][np.ix_(members, members)]
        size = np.abs(q[index]).max() + np.abs(x[index]).max() + np.finfo(w.dtype).tiny
        gauge = slack(w)
        if np.abs(block - block.conj().T).max() > gauge * size:
            refuse(values, index, members, TURNS)
        found = _implied(x[index][0, members].real, (block + block.conj().T) / 2, gauge * size)
        if found is None:
            refuse(values, index, members, UNKNOWN)
        y[(*index, *np.ix_(members, members))] = found
    for index, members in near:
        block = (*index, *np.ix_(members, members))
        joined = clusters(values[index])[np.ix_(members, members)]
        y[block] += np.where(joined, 0, _correction(
            x[index][0, members].real, q[block], values[index][members], joined))
    return y


def _correction(diagonal: Any, block: Any, w: Any, joined: Any) -> Any:
    """What the implied block of near values adds to their quotients (q_ij - q_ji*) / (w_j - w_i).

    The quotients lose eps/gap, the implied block is off by the gap itself: it is taken where the
    two agree as well as rounding lets them, so that at worst the quotient was as bad.
    """
    gap = w - w[:, None]
    size = np.abs(block).max() + np.abs(diagonal).max() + np.finfo(w.dtype).tiny
    found = _implied(diagonal, (block + block.conj().T) / 2, slack(w) * size)
    if found is None:
        return 0
    with np.errstate(all="ignore"):
        difference = found - (block - block.conj().T) / gap
        agree = np.abs(difference * gap) <= 8 * np.finfo(w.dtype).eps * size
    return difference if agree[~joined].all() else 0


def _implied(diagonal: Any, symmetric: Any, loose: float) -> Any:
    """The block with this diagonal that is c * symmetric + k * I, if the diagonal confirms it."""
    count = len(diagonal)
    s = np.real(np.diagonal(symmetric))
    eye = np.eye(count)
    if np.abs(symmetric).max() <= loose:
        return eye * diagonal.mean() if np.ptp(diagonal) <= loose else None
    for columns in ([s], [s, np.ones(count)]):
        if len(columns) >= count:
            break  # a fit with nothing left to confirm it
        a = np.stack(columns, -1)
        c = np.linalg.lstsq(a, diagonal, rcond=None)[0]
        if np.abs(a @ c - diagonal).max() <= loose:
            return c[0] * symmetric + (c[1] * eye if len(c) > 1 else 0 * eye)
    return None


def _within_known(x: Any, q: Any, w: Any) -> Any:
    n = w.shape[-1]
    lead = np.broadcast_shapes(x.shape[:-2], q.shape[:-2], w.shape[:-2])
    return aval((*lead, n, n), np.result_type(x.dtype, q.dtype))


def _within_jvp(dxs: Any, y: Any, x: Any, q: Any, w: Any) -> Any:
    if dxs[0] is None:
        return guard(np.zeros(y.shape, y.dtype), w, check="apart")
    return guard(broadcast_to(dxs[0] * eye_like(w), y.shape), w, check="apart")


def _within_vjp(dy: Any, y: Any, x: Any, q: Any, w: Any, needs: Any) -> Any:
    dy = guard(dy, w, check="apart")
    part = (dy * eye_like(w)).sum(-2)[..., None, :]
    return (unbroadcast(part, x.shape) if needs[0] else None,
            np.zeros(q.shape, q.dtype) if needs[1] else None, None)


def _within_cases(rng: np.random.Generator) -> Iterator[Case]:
    w = np.array([[-1.0, 0.5, 2.0]])
    x, q = draw(rng, (1, 3)), draw(rng, (3, 3))
    yield Case((x, q, w))
    yield Case((np.stack([x, x]), q, w))
    yield Case((x, np.stack([q, q]), np.stack([w, w + 1])))
    yield Case((x[:, :1], q[:1, :1], w[:, :1]))
    yield Case((np.zeros((1, 0)), np.zeros((0, 0)), np.zeros((1, 0))))
    yield Case((x, np.asfortranarray(q), w[:, ::-1]))
    yield Case(tuple(v.astype(np.float32) for v in (x, q, w)))
    yield Case((np.ones((1, 3), int), q, w))


within = row(
    "_within", _within_impl, _within_known,
    Label("diag({0})", r"\mathrm{{diag}}({0})", ("1",), "diagonal", "((",
          (r"\mathrm{{diag}}({dy})",)),
    Cases(_within_cases, {**NO_SCALARS, "broadcast right": "a diagonal beside a matrix",
                          "broadcast left": "a diagonal beside a matrix"}, near=True),
    jvp=_within_jvp, vjp=_within_vjp, keeps=frozenset({2}))


# ---- inverse differences of values

def _gaps_impl(w: Any, sign: int) -> Any:
    w = w.astype(wide(w.dtype), copy=False)
    difference = w[..., None, :] + sign * w[..., :, None]
    if sign < 0 and w.dtype.kind != "c":
        same = clusters(w)  # what `_within` fills, and nothing else
    else:
        same = np.abs(difference) <= tolerance(w)[..., None]
    return np.where(same, 0, 1 / np.where(same, 1, difference)).astype(w.dtype, copy=False)


def _gaps_jvp(dxs: Any, y: Any, w: Any, sign: int) -> Any:
    if dxs[0] is None:
        return None
    dw = dxs[0]
    return -(dw[..., None, :] + sign * dw[..., :, None]) * y * y


def _gaps_vjp(dy: Any, y: Any, w: Any, needs: Any, sign: int) -> Any:
    part = -dy * y * y
    return (part.sum(-2) + sign * part.sum(-1),)


def _gaps_cases(rng: np.random.Generator) -> Iterator[Case]:
    w = np.array([0.5, 1.0, 2.5])
    for sign in (-1, 1):
        p = {"sign": sign}
        yield Case((w,), p)
        yield Case((np.stack([w, w + 1])[:, ::-1],), p)
        yield Case((w[:1],), p)
        yield Case((np.zeros(0),), p)
        yield Case((np.asfortranarray(np.stack([w, w + 1])),), p)
        yield Case((w.astype(np.float32),), p)
        yield Case((np.array([1, 2, 4]),), p)


_gaps = row(
    "_gaps", _gaps_impl, lambda w, sign: aval((*w.shape, w.shape[-1]), wide(w.dtype)),
    Label("gaps({0}, sign={sign})", r"F({0})", ("-{y}^2",), "reciprocal rule", "((",
          (r"-\sum_i {dy}_{{ij}}\,{y}_{{ij}}^2 - ({sign})\,\sum_i {dy}_{{ji}}\,{y}_{{ji}}^2",)),
    Cases(_gaps_cases, {**NO_SCALARS, "broadcast left": "one array",
                        "broadcast right": "one array"}, near=True),
    jvp=_gaps_jvp, vjp=_gaps_vjp, keeps=frozenset("y"))


def gaps(w: Any, sign: int = -1) -> Any:
    """1 / (w_j - w_i) with 0 for equal values, or with sign 1 the inverses of sums."""
    return _gaps(w, sign=sign)
