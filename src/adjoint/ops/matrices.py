"""What the rows of linear algebra share: matrices in the last two axes, stacks in the leading ones.

Rules compute with transposes, not with conjugate transposes (see ``complexes.py``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from adjoint.core.node import aval
from adjoint.core.primitive import NUMPY, PUBLIC, Label
from adjoint.errors import DTypeError, MatrixError, ShapeError

from .cases import Case, Cases, draw
from .complexes import real
from .declare import COMPOSED, Composed, arrayed, batch_aligned, general
from .reduce import sum as summed
from .shape import swapaxes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator



NO_SCALARS = {"0-d": "a matrix has two axes"}
ONE_ARRAY = {**NO_SCALARS, "broadcast left": "one array", "broadcast right": "one array"}


# ---- what all rows of linear algebra share

def flip(x: Any) -> Any:
    """Each matrix transposed."""
    return swapaxes(x, -1, -2)


def adjoint(x: Any) -> Any:
    """Each matrix transposed and conjugated."""
    return flip(conj(x))


def conj(x: Any) -> Any:
    """The conjugate of complex values; real ones as they are."""
    return x.conj() if x.dtype.kind == "c" else x


def wide(dtype: Any) -> Any:
    """The dtype that NumPy's linear algebra computes in: integers become float64."""
    if dtype.kind in "fc" and dtype.char not in "fdFD":
        known = "complex128" if dtype.kind == "c" else f"float{32 if dtype.itemsize < 4 else 64}"
        raise DTypeError(f"linear algebra has no {dtype}; write x.astype(np.{known})")
    return dtype if dtype.kind in "fc" else np.dtype(float)


def real_of(dtype: Any) -> Any:
    """The dtype of absolute values."""
    return np.empty(0, wide(dtype)).real.dtype


def eye_like(x: Any) -> Any:
    """The identity of the size of the last axis, in the dtype of absolute values."""
    return np.eye(x.shape[-1], dtype=real_of(x.dtype))


def is_matrix(name: str, x: Any) -> None:
    """An error unless ``x`` has two axes or more."""
    if len(x.shape) < 2:
        raise ShapeError(f"{name}: a matrix has two axes, and the shape is {x.shape}; write "
                         "x[:, None] for a column, x[None, :] for a row")


def is_square(name: str, x: Any) -> None:
    """An error unless ``x`` is a square matrix, or a stack of them."""
    is_matrix(name, x)
    rows, columns = x.shape[-2:]
    if rows != columns:
        raise ShapeError(f"{name}: a square matrix is needed, and the shape is {x.shape} ({rows} "
                         f"rows, {columns} columns); ad.linalg.lstsq and ad.linalg.pinv are for "
                         "rectangular ones")


def square(name: str, x: Any) -> Any:
    """``x`` as an array that is square."""
    x = arrayed(x)
    is_square(name, x)
    wide(x.dtype)
    return x


def at(index: tuple[int, ...]) -> str:
    """Where in a stack a matrix stands, for messages."""
    return f" at index {index}" if index else ""


def singular(name: str, a: Any) -> MatrixError:
    """The error for a singular matrix: which, its rank, and what to use."""
    n = a.shape[-1]
    ranks = np.asarray(np.linalg.matrix_rank(a))
    where_singular = tuple(map(int, np.argwhere(ranks < n)[0])) if (ranks < n).any() else ()
    rank = int(ranks[where_singular]) if ranks.size else n
    return MatrixError(
        f"{name}: the matrix{at(where_singular)} of shape {(n, n)} is singular (its rank is "
        f"{min(rank, n - 1)}), so it has no inverse. Add a multiple of np.eye({n}) to it, or use "
        "ad.linalg.lstsq or ad.linalg.pinv")


def by_call(impl: Callable[..., Any], known: Callable[..., Any]) -> Any:
    """The lowering of what has no loop form: a call, whose Aval the row's rule announces."""
    def lower(b: Any, *refs: Any, **params: Any) -> Any:
        return b.call(lambda *xs: impl(*xs, **params), refs, known(*refs, **params))
    return lower


def row(name: str, impl: Any, known: Any, label: Label, cases: Cases, **fields: Any) -> Any:
    """A row on matrices in the last two axes; a batch is one more leading axis."""
    def batch(size: int, axes: Any, *xs: Any, **params: Any) -> Any:
        return apply(*batch_aligned(size, axes, xs), **params), 0
    derived: dict[str, Any] = {"batch": batch, "lower": by_call(impl, known)}
    apply = general("linalg." + name, impl, aval=known, label=label, cases=cases,
                    **derived | fields)
    return apply


def offered(name: str, *numpy: Any, label: Label | None = None, cases: Cases | None = None) -> Any:
    """Decorator: the function ``ad.linalg.name``; with cases it is tested as a composed one."""
    def enter(f: Any) -> Any:
        full = "linalg." + name
        if label is not None and cases is not None:
            COMPOSED[full] = Composed(full, f, label, cases)
        f.__name__ = f.__qualname__ = name
        PUBLIC[full] = f
        NUMPY.update(dict.fromkeys(numpy, f))
        return f
    return enter


def regular(rng: np.random.Generator, *shape: int) -> Any:
    """A well-conditioned matrix, or a stack of them."""
    n = shape[-1]
    return draw(rng, shape, (-1.0, 1.0)) + 3.0 * np.eye(shape[-2], n)


def square_cases(*params: dict[str, Any], make: Any = regular, extra: Any = (),
                 without: dict[str, str] | None = None) -> Cases:
    """The cases of a row with one square matrix."""
    def generate(rng: np.random.Generator) -> Iterator[Case]:
        for p in params or ({},):
            for shape in ((3, 3), (2, 3, 3), (1, 1)):
                yield Case((make(rng, *shape),), p)
        p = params[0] if params else {}
        yield Case((np.zeros((0, 0)),), p)
        yield Case((np.zeros((0, 2, 2)),), p)
        yield Case((np.asfortranarray(make(rng, 3, 3)),), p)
        yield Case((make(rng, 3, 3)[::-1, ::-1],), p)
        yield Case((make(rng, 2, 2).astype(np.float32),), p)
        yield Case((np.array([[5, 1], [1, 3]]),), p)
        yield from extra
    return Cases(generate, {**ONE_ARRAY, **(without or {})}, near=True)


def trace_of(x: Any, z: Any) -> Any:
    """tr(x z) of each pair of matrices."""
    return summed(x * flip(z), axis=(-2, -1))


def matrix(x: Any) -> Any:
    """A number for each matrix, with two axes of size 1 behind it."""
    return x[..., None, None]


def square_known(name: str) -> Any:
    """The Aval rule of what turns square matrices into such."""
    def known(x: Any, **_: Any) -> Any:
        is_square(name, x)
        return aval(x.shape, wide(x.dtype))
    return known


def converged(name: str, f: Any, *xs: Any) -> Any:
    """``f(*xs)``, with NumPy's error as ours; of an infinity LAPACK's SVD may never return."""
    for x in xs:
        if not np.all(np.isfinite(x)):
            index = tuple(map(int, np.argwhere(~np.isfinite(x))[0]))
            raise MatrixError(f"{name}: the matrix has {np.asarray(x)[index]} at {index}; "
                              "ad.diagnose(f, x) finds out where it came from")
    try:
        return f(*xs)
    except np.linalg.LinAlgError as e:
        raise MatrixError(f"{name}: {e}; look for NaN and infinities in the matrix") from None


def real_part(x: Any) -> Any:
    """The real part of complex values; real ones as they are."""
    return real(x) if x.dtype.kind == "c" else x
