"""Norms and condition numbers; general eigenvalues; pseudo-inverses; functions of a matrix."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from adjoint.core.box import Box
from adjoint.core.node import aval
from adjoint.core.primitive import PUBLIC, Label
from adjoint.errors import ArgumentError, EscapeError, MatrixError, ShapeError

from .arithmetic import astype
from .cases import Case, Cases, array_cases, draw
from .complexes import imag, real
from .declare import arrayed, check_axis, general
from .factor import svdvals
from .reduce import axes_of, batched, full, reduced, restored
from .reduce import max as largest
from .reduce import min as smallest
from .reduce import sum as summed
from .select import where
from .shape import concatenate, moveaxis, reshape
from .solve import (
    ONE_ARRAY,
    adjoint,
    by_call,
    conj,
    flip,
    inv,
    is_matrix,
    is_square,
    offered,
    real_of,
    row,
    square,
    square_cases,
    wide,
)
from .spectral import _guard, _real, converged, gaps

if TYPE_CHECKING:
    from collections.abc import Iterator


# ---- the 2-norm over axes: a row, so that it is 0 at 0 and does not overflow on its way

def _euclid_impl(x: Any, axis: Any, keepdims: bool) -> Any:
    x = np.asarray(x).astype(wide(np.asarray(x).dtype), copy=False)
    with np.errstate(over="ignore", under="ignore"):
        y = np.sqrt(np.add.reduce((x * x.conj()).real, axis=axis, keepdims=keepdims))
    if x.size and not np.all((y > 0) & (y < np.inf)):  # squares that left the range of floats
        scale = np.abs(x).max(axis=axis, keepdims=True)
        scale = np.where((scale > 0) & (scale < np.inf), scale, 1).astype(y.dtype)
        u = x / scale
        whole = scale * np.sqrt(np.add.reduce((u * u.conj()).real, axis=axis, keepdims=True))
        y = whole.reshape(reduced(x.shape, axis, keepdims))[()]
    return y


def _euclid_known(x: Any, axis: Any, keepdims: bool) -> Any:
    return aval(reduced(x.shape, axis, keepdims), real_of(x.dtype))


def _direction(y: Any, x: Any, axis: Any, keepdims: bool) -> Any:
    """X / |x|, and 0 at 0."""
    y = restored(y, x, axis, keepdims)
    zero = y == 0
    return where(zero, 0.0, x / where(zero, 1.0, y))


def _euclid_jvp(dxs: Any, y: Any, x: Any, axis: Any, keepdims: bool) -> Any:
    if dxs[0] is None:
        return None
    part = conj(_direction(y, x, axis, keepdims)) * dxs[0]
    return summed(_real(part), axis=full(axis, len(x.shape)), keepdims=keepdims)


def _euclid_vjp(dy: Any, y: Any, x: Any, needs: Any, axis: Any, keepdims: bool) -> Any:
    return (restored(dy, x, axis, keepdims) * conj(_direction(y, x, axis, keepdims)),)


_euclid = general(
    "linalg.norm", _euclid_impl, aval=_euclid_known, jvp=_euclid_jvp, vjp=_euclid_vjp, arity=1,
    batch=batched("linalg.norm"), lower=by_call(_euclid_impl, _euclid_known),
    kink=lambda x, axis, keepdims: _euclid_impl(x, axis, keepdims) == 0, keeps=frozenset({0, "y"}),
    label=Label("norm({0})", r"\lVert {0} \rVert", (r"{0} / \lVert {0} \rVert",), "norm"),
    cases=array_cases(
        {"axis": None, "keepdims": False}, {"axis": (0,), "keepdims": False},
        {"axis": (0, 1), "keepdims": True}, {"axis": (1,), "keepdims": True}, empty=False,
        extra=[Case((np.zeros((0, 3)),), {"axis": (0,), "keepdims": False}),
               Case((np.zeros((2, 3)),), {"axis": (1,), "keepdims": False}, "kink"),
               Case((np.array([3e200, 4e200]),), {"axis": None, "keepdims": False}, "kink")]))


# ---- norms

def _of_vector(x: Any, p: Any, axis: Any, keepdims: bool) -> Any:
    """The p-norm over axes; ``axis`` is a tuple or None for all."""
    if p is None or p == 2:
        return _euclid(x, axis=axis, keepdims=keepdims)
    if isinstance(p, str) or np.isnan(p):
        raise ArgumentError(f"norm: the order {p!r} is not one of vectors: a number, np.inf, "
                            "-np.inf or None")
    size = abs(x)
    if p in (np.inf, -np.inf):
        return (largest if p > 0 else smallest)(size, axis=axis, keepdims=keepdims)
    if p == 0:
        return summed(astype(x != 0, real_of(x.dtype)), axis=axis, keepdims=keepdims)
    if p == 1:
        return summed(size, axis=axis, keepdims=keepdims)
    total = summed(size ** p, axis=axis, keepdims=keepdims)
    zero = total == 0
    return where(zero, 0.0, where(zero, 1.0, total) ** (1.0 / p))


def _of_matrix(x: Any, p: Any, keepdims: bool) -> Any:
    """A norm of the matrices in the last two axes."""
    if p is None or p == "fro":
        n = len(x.shape)
        return _euclid(x, axis=(n - 2, n - 1), keepdims=keepdims)
    if p in ("nuc", 2, -2):
        s = svdvals(x)
        y = summed(s, axis=-1) if p == "nuc" else (largest if p == 2 else smallest)(s, axis=-1)
    elif p in (1, -1, np.inf, -np.inf):
        sums = summed(abs(x), axis=-2 if abs(p) == 1 else -1)
        y = (largest if p > 0 else smallest)(sums, axis=-1)
    else:
        raise ArgumentError(f"norm: the order {p!r} is not one of matrices: None, 'fro', 'nuc', 1, "
                            "-1, 2, -2, np.inf or -np.inf")
    return y[..., None, None] if keepdims else y


def _inexact(x: Any) -> Any:
    x = arrayed(x)
    return x if x.dtype.kind in "fc" else astype(x, float)


@offered("vector_norm", np.linalg.vector_norm)
def vector_norm(x: Any, *, axis: Any = None, keepdims: bool = False, ord: Any = 2) -> Any:
    """The norm (sum |x|^p)^(1/p) of all of x, or along axes.

        d|x|_2 = Re(x^H dx) / |x|_2,  0 at x = 0

    Args: ``x`` any shape, ``ord`` a number, np.inf (largest), -np.inf (smallest) or 0 (how many
    are not 0, without derivative). Ties of the largest share; |x_i| has derivative 0 at 0. Raises
    ArgumentError for another order. Source: Magnus & Neudecker; the array API standard.

    >>> ad.grad(ad.linalg.vector_norm)(np.array([3.0, 4.0]))
    array([0.6, 0.8])
    """
    x = _inexact(x)
    axes = None if axis is None else axes_of("vector_norm", axis, len(x.shape))
    return _of_vector(x, ord, axes, keepdims)


@offered("matrix_norm", np.linalg.matrix_norm)
def matrix_norm(x: Any, *, keepdims: bool = False, ord: Any = "fro") -> Any:
    """A norm of a matrix, or of each of a stack.

    Args: ``x`` (..., m, n); ``ord`` "fro" (Frobenius), "nuc" (sum of singular values), 2, -2
    (largest, smallest singular value), 1, -1 (sums of columns), np.inf, -np.inf (sums of rows).
    The gradient at 0 is 0 for Frobenius, 1 and inf; ties share; where singular values are 0 or
    equal the gradient of "nuc" and 2 is one of the subgradients (`svdvals`). Raises ShapeError
    without two axes, ArgumentError for another order. Source: Watson (1992), "Characterization of
    the subdifferential of some matrix norms".

    >>> ad.grad(lambda x: ad.linalg.matrix_norm(x, ord=2))(np.diag([3.0, 1.0])) + 0.0
    array([[1., 0.],
           [0., 0.]])
    """
    x = _inexact(x)
    is_matrix("matrix_norm", x)
    return _of_matrix(x, ord, keepdims)


@offered("norm", np.linalg.norm)
def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    """A vector or matrix norm, by NumPy's rules: one axis is a vector, two are a matrix.

    Without ``ord`` and ``axis`` the 2-norm of all elements. Orders, derivatives at 0 and at ties,
    and errors are those of `vector_norm` and `matrix_norm`. Raises ShapeError if the axes are more
    than two. Source: `numpy.linalg.norm`.

    >>> ad.linalg.norm([[3.0, 0.0], [0.0, 4.0]])
    np.float64(5.0)
    """
    x = _inexact(x)
    count = len(x.shape)
    if axis is None and ord is None:
        return _euclid(x, axis=None, keepdims=keepdims)
    axes = (tuple(range(count)) if axis is None else
            tuple(check_axis("norm", a, count) for a in (
                axis if isinstance(axis, (tuple, list)) else (axis,))))
    if len(axes) == 1:
        return _of_vector(x, ord, axes, keepdims)
    if len(axes) != 2 or axes[0] == axes[1]:
        raise ShapeError(f"norm: a norm is of one axis (vectors) or two (matrices), and here of "
                         f"{axes} of shape {x.shape}; give axis=, or ravel the array")
    y = _of_matrix(moveaxis(x, axes, (-2, -1)), ord, keepdims=False)
    return reshape(y, reduced(x.shape, axes, keepdims=True)) if keepdims else y


@offered("cond", np.linalg.cond)
def cond(x: Any, p: Any = None) -> Any:
    """The condition number |x| |x^-1| of a matrix, in the 2-norm if ``p`` is None.

    Args: ``x`` (..., m, n), square unless p is None, 2 or -2; ``p`` an order of `matrix_norm`.
    Raises MatrixError for a singular matrix in other norms than the 2-norm, where it is inf.
    Source: Higham, "Accuracy and Stability of Numerical Algorithms", chapter 6.

    >>> ad.linalg.cond(np.diag([4.0, 2.0]))
    np.float64(2.0)
    """
    x = _inexact(x)
    is_matrix("cond", x)
    if p in (None, 2, -2):
        s = svdvals(x)
        return s[..., -1] / s[..., 0] if p == -2 else s[..., 0] / s[..., -1]
    return _of_matrix(square("cond", x), p, keepdims=False) * _of_matrix(
        inv(x), p, keepdims=False)


def _rank_impl(x: Any, tol: Any, hermitian: bool, rtol: Any) -> Any:
    return np.asarray(np.linalg.matrix_rank(x, tol, hermitian, rtol=rtol))[()]


def _rank_known(x: Any, **_: Any) -> Any:
    is_matrix("matrix_rank", x)
    return aval(x.shape[:-2], np.intp)


_rank = row(
    "matrix_rank", _rank_impl, _rank_known, Label("rank({0})", r"\mathrm{{rank}}\,{0}"),
    square_cases({"tol": None, "hermitian": False, "rtol": None}), nondiff=True)


@offered("matrix_rank", np.linalg.matrix_rank)
def matrix_rank(A: Any, tol: Any = None, hermitian: bool = False, *, rtol: Any = None) -> Any:
    """The number of singular values above a tolerance: an integer, without derivative.

    Args as in `numpy.linalg.matrix_rank`, of matrices. Raises ShapeError without two axes.

    >>> int(ad.linalg.matrix_rank(np.ones((2, 2))))
    1
    """
    x = arrayed(A)
    is_matrix("matrix_rank", x)
    return _rank(x, tol=tol, hermitian=hermitian, rtol=rtol)


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


def _identity(x: Any) -> Any:
    return np.eye(x.shape[-1], dtype=real_of(x.dtype))


def _eig_parts(y: Any) -> tuple[Any, Any]:
    n = y.shape[-1] + 1
    y = y[..., :n, :] + y.dtype.type(1) * np.complex64(1j) * y[..., n:, :]
    return y[..., 0, :], y[..., 1:, :]


def _differentiable(y: Any, x: Any) -> tuple[Any, Any]:
    w, v = _eig_parts(y)
    known = concatenate([w[..., None, :], v, astype(x, v.dtype)], axis=-2)
    return w, _guard(v, known, check="distinct")


def _eig_jvp(dxs: Any, y: Any, x: Any) -> Any:
    """With K = V^-1 dX V: dw = diag(K), dV = V (F o K), less what changes the lengths."""
    if dxs[0] is None:
        return None
    w, v = _differentiable(y, x)
    k = inv(v) @ dxs[0] @ v
    dv = v @ (gaps(w) * k)
    dv = dv - v * real((conj(v) * dv).sum(-2))[..., None, :]
    return _packed((k * _identity(k)).sum(-2), dv)


def _eig_vjp(dy: Any, y: Any, x: Any, needs: Any) -> Any:
    """With Q = V^H Vbar: V^-H (diag(wbar) + conj(F) o (Q - V^H V diag(Re diag Q))) V^H."""
    w, v = _differentiable(y, x)
    dw, dv = _eig_parts(dy)
    if x.dtype.kind != "c":  # the vector of a real eigenvalue is real: it has no phase
        dv = where((imag(w) == 0)[..., None, :], real(dv), dv)
    eye = _identity(v)
    q = _guard(adjoint(v) @ dv, w[..., None, :], check="phase")
    q = q - (adjoint(v) @ v) * real((q * eye).sum(-2))[..., None, :]
    inner = dw[..., None, :] * eye + conj(gaps(w)) * q
    dx = conj(adjoint(inv(v)) @ inner @ adjoint(v))
    return (dx if x.dtype.kind == "c" else real(dx),)


def _distinct(rng: np.random.Generator, *shape: int) -> Any:
    return draw(rng, shape, (-0.3, 0.3)) + np.diag(2.0 * np.arange(shape[-1]) + 1.0)


_eig = row(
    "eig", _eig_impl, _eig_known,
    Label("eig({0})", r"\mathrm{{eig}}\,{0}", (r"V^{{-\top}}(\dots)V^\top",), "eigenvalues"),
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


# ---- pinv, lstsq

def _pinv_impl(x: Any, rcond: Any) -> Any:
    return converged("pinv", lambda x: np.linalg.pinv(x, rcond), x)


def _pinv_known(x: Any, rcond: Any) -> Any:
    is_matrix("pinv", x)
    return aval((*x.shape[:-2], x.shape[-1], x.shape[-2]), wide(x.dtype))


def _full_rank(y: Any, x: Any, rcond: Any) -> Any:
    """``y``, if no singular value counts as 0."""
    s = svdvals(x)
    if s.shape[-1]:
        limit = np.asarray(rcond)[..., None] * largest(s, axis=-1, keepdims=True)
        s = where(s > limit, s, 0.0)
    return _guard(y, s[..., None, :], check="full")


def _pinv_jvp(dxs: Any, y: Any, x: Any, rcond: Any) -> Any:
    """With P = A^+: -P dA P + P P^H dA^H (I - A P) + (I - P A) dA^H P^H P."""
    if dxs[0] is None:
        return None
    p, h = _full_rank(y, x, rcond), adjoint(dxs[0])
    left = p @ adjoint(p) @ h
    right = h @ adjoint(p) @ p
    return -(p @ dxs[0] @ p) + left - left @ x @ p + right - p @ (x @ right)


def _pinv_vjp(dy: Any, y: Any, x: Any, needs: Any, rcond: Any) -> Any:
    p, g = _full_rank(y, x, rcond), conj(dy)
    ph, gh = adjoint(p), adjoint(g)
    left = gh @ p @ ph
    right = ph @ p @ gh
    return (conj(-(ph @ g @ ph) + left - x @ (p @ left) + right - right @ p @ x),)


def _tall_or_wide(rng: np.random.Generator) -> Iterator[Case]:
    p = {"rcond": 1e-13}
    for shape in ((3, 3), (4, 2), (2, 4), (2, 3, 2), (1, 1), (3, 0), (0, 3, 2)):
        yield Case((draw(rng, shape, (-0.5, 0.5)) + 2.0 * np.eye(*shape[-2:]),), p)
    x = draw(rng, (3, 2), (-0.5, 0.5)) + 2.0 * np.eye(3, 2)
    yield Case((np.asfortranarray(x),), p)
    yield Case((x[::-1],), p)
    yield Case((x.astype(np.float32),), {"rcond": 1e-5})
    yield Case((np.array([[5, 1], [1, 3], [0, 2]]),), p)


_pinv = row(
    "pinv", _pinv_impl, _pinv_known,
    Label("pinv({0})", "{0}^{{+}}", (r"-{y}^\top\cdot\,{y}^\top + \dots",), "pseudo-inverse"),
    Cases(_tall_or_wide, ONE_ARRAY, near=True), jvp=_pinv_jvp, vjp=_pinv_vjp,
    keeps=frozenset({0, "y"}))


@offered("pinv", np.linalg.pinv)
def pinv(a: Any, rcond: Any = None, hermitian: bool = False, *, rtol: Any = None) -> Any:
    """The Moore-Penrose pseudo-inverse.

        dP = -P dA P + P P^H dA^H (I - A P) + (I - P A) dA^H P^H P

    Args: ``a`` (..., m, n); singular values below ``rcond`` (or ``rtol``) times the largest count
    as 0, by default max(m, n) roundings. Raises MatrixError for a derivative at a matrix of less
    than full rank, where the pseudo-inverse jumps. Source: Golub & Pereyra (1973), "The
    differentiation of pseudo-inverses and nonlinear least squares problems".

    >>> ad.linalg.pinv([[2.0], [0.0]])
    array([[0.5, 0. ]])
    """
    x = arrayed(a)
    is_matrix("pinv", x)
    limit = rtol if rcond is None else rcond
    if limit is None:
        limit = float(np.finfo(wide(x.dtype)).eps) * max(x.shape[-2:])
    return _pinv(x, rcond=limit)


@offered("lstsq", np.linalg.lstsq)
def lstsq(a: Any, b: Any, rcond: Any = None) -> Any:
    """The least-squares solution of a x = b: (x, residuals, rank, singular values), as NumPy.

        x = a^+ b    (of smallest norm, if there are several)

    Args: ``a`` (m, n), ``b`` (m,) or (m, k). ``residuals`` are the sums of squares of a x - b if
    m > n and the rank is n, else empty. Raises ShapeError if the rows do not match, MatrixError for
    a derivative where a has not full rank. Source: Golub & Pereyra (1973).

    >>> ad.linalg.lstsq([[1.0], [1.0]], [1.0, 3.0])[0]
    array([2.])
    """
    a, b = arrayed(a), arrayed(b)
    is_matrix("lstsq", a)
    if len(a.shape) != 2 or len(b.shape) not in (1, 2) or a.shape[0] != b.shape[0]:
        raise ShapeError(f"lstsq: {a.shape[-2]} equations (a has shape {a.shape}) do not fit the "
                         f"right-hand side of shape {b.shape}: it has {a.shape[-2]} rows. Map over "
                         "stacks of systems with ad.vmap")
    x = pinv(a, rcond) @ b
    rank, s = matrix_rank(a, rtol=rcond), svdvals(a)
    m, n = a.shape
    square_of = _euclid(b - a @ x, axis=(0,), keepdims=len(b.shape) == 1) ** 2
    whole = m > n and _is_full(rank, n)
    return x, square_of if whole else np.zeros(0, square_of.dtype), rank, s


def _is_full(rank: Any, n: int) -> bool:
    """Whether the rank is n, of all systems of a batch or of none; taken for granted in a trace."""
    while isinstance(rank, Box):
        rank = rank.value
    full_rank = rank is None or np.equal(rank, n)
    if np.all(full_rank) != np.any(full_rank):
        raise EscapeError("lstsq: some systems of this batch have full rank and residuals, others "
                          "have none, so the results differ in shape; leave vmap, or write "
                          "ad.linalg.pinv(a) @ b")
    return bool(np.all(full_rank))


def _of_matrices(name: str, f: Any, doc: str, example: Any, latex: str) -> Any:
    """A matrix function whose Frechet derivative is a block: f([[A, E], [0, A]])."""
    def impl(x: Any) -> Any:
        x = np.asarray(x).astype(wide(x.dtype), copy=False)
        if not x.size:
            return np.zeros(x.shape, x.dtype)
        flat = x.reshape(-1, *x.shape[-2:])
        y = np.stack([f(part.astype(np.result_type(x.dtype, float))) for part in flat])
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
        zero = np.zeros(x.shape, x.dtype)
        upper, lower = concatenate([x, e], axis=-1), concatenate([zero, x], axis=-1)
        return apply(concatenate([upper, lower], axis=-2))[..., :n, n:]

    apply = row(
        name, impl, known,
        Label(name + "({0})", latex, (r"L(A^\top, \cdot)",), "Frechet derivative"),
        square_cases(make=example),
        jvp=lambda dxs, y, x: None if dxs[0] is None else derivative(x, dxs[0]),
        vjp=lambda dy, y, x, needs: (derivative(flip(x), dy),), keeps=frozenset({0}))

    def public(x: Any) -> Any:
        return apply(square(name, x))
    public.__doc__ = doc
    return offered(name)(public)


def _scipy(name: str) -> Any:
    def call(x: Any) -> Any:
        import scipy.linalg
        return np.asarray(getattr(scipy.linalg, name)(x))
    return call


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
    """, _positive, r"e^{{{0}}}")
logm = _of_matrices("logm", _scipy("logm"), """The principal logarithm of a matrix, inverse of expm.

    Derivatives by the block form, as in `expm`. Args: ``x`` (..., n, n) without eigenvalues that
    are 0 or negative. Raises ShapeError if it is not square, MatrixError if the result would be
    complex for a real matrix. Needs SciPy. Source: Higham, "Functions of Matrices", chapters 3, 11.

    >>> ad.linalg.logm(np.diag([1.0, np.e])).round(12) + 0.0
    array([[0., 0.],
           [0., 1.]])
    """, _positive, r"\log {0}")
sqrtm = _of_matrices("sqrtm", _scipy("sqrtm"), """The principal square root of a matrix.

    Derivatives by the block form, as in `expm`. Args: ``x`` (..., n, n) without eigenvalues that
    are 0 or negative. Raises ShapeError if it is not square, MatrixError if the result would be
    complex for a real matrix. Needs SciPy. Source: Higham, "Functions of Matrices", chapters 3, 6.

    >>> ad.linalg.sqrtm(np.diag([4.0, 9.0]))
    array([[2., 0.],
           [0., 3.]])
    """, _positive, r"{0}^{{1/2}}")


# ---- NumPy's second names, which work on the last two axes

@offered("trace", np.linalg.trace)
def trace(x: Any, *, offset: int = 0) -> Any:
    """The sum of a diagonal of each matrix: `adjoint.trace` over the last two axes.

    >>> ad.linalg.trace(np.ones((2, 3, 3)))
    array([3., 3.])
    """
    return PUBLIC["trace"](x, offset, -2, -1)


@offered("diagonal", np.linalg.diagonal)
def diagonal(x: Any, *, offset: int = 0) -> Any:
    """A diagonal of each matrix: `adjoint.diagonal` over the last two axes.

    >>> ad.linalg.diagonal(np.eye(2))
    array([1., 1.])
    """
    return PUBLIC["diagonal"](x, offset, -2, -1)


@offered("cross", np.linalg.cross)
def cross(x: Any, z: Any, *, axis: int = -1) -> Any:
    """The cross product of vectors with three elements: `adjoint.cross`.

    Raises ShapeError if there are not three.

    >>> ad.linalg.cross([1.0, 0.0, 0.0], [0.0, 1.0, 0.0])
    array([0., 0., 1.])
    """
    x, z = arrayed(x), arrayed(z)
    for v in (x, z):
        if v.shape[check_axis("cross", axis, len(v.shape))] != 3:
            raise ShapeError(f"cross: vectors have three elements, and the shapes are {x.shape} "
                             f"and {z.shape} (axis {axis})")
    return PUBLIC["cross"](x, z, axis=axis)


@offered("vecdot", np.linalg.vecdot)
def vecdot(x: Any, z: Any, *, axis: int = -1) -> Any:
    """The inner product x^H z along an axis; leading axes broadcast.

    Raises ShapeError if the shapes do not fit. Source: the array API standard.

    >>> ad.linalg.vecdot([[1.0, 2.0], [3.0, 4.0]], [1.0, 1.0])
    array([3., 7.])
    """
    x, z = arrayed(x), arrayed(z)
    if x.shape[check_axis("vecdot", axis, len(x.shape))] != z.shape[
            check_axis("vecdot", axis, len(z.shape))]:
        raise ShapeError(f"vecdot: shapes {x.shape} and {z.shape} have vectors of different length "
                         f"along axis {axis}")
    return summed(conj(x) * z, axis=axis)
