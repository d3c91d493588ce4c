"""Products of matrices and tensors: matmul, einsum, and what is written with them."""

from __future__ import annotations

from string import ascii_letters
from typing import Any

import numpy as np

from adjoint.core.box import Box
from adjoint.core.node import aval, ndarray
from adjoint.core.primitive import Label
from adjoint.errors import ArgumentError, ShapeError
from adjoint.scalars import note_view

from . import loops
from .arithmetic import astype
from .cases import CONTRACTED, Case, Cases, array_cases, draw, pair_cases
from .declare import (
    bilinear,
    composed,
    function,
    general,
    gives_arrays,
    promoted,
    shape_of,
    total,
)
from .reduce import _summed
from .shape import axes_once, broadcast_to, expand_dims, moveaxis, reshape, swapaxes, unbroadcast

NO_BROADCAST = {"0-d": "matmul takes no 0-d array"}


# ---- matmul

def _flip(x: Any) -> Any:
    """A matrix (or batch of them) transposed."""
    return x.T if len(x.shape) == 2 else swapaxes(x, -1, -2)


def _left(dy: Any, x: Any, z: Any) -> Any:
    """dL/dx = dL/dy z^T; a vector is a matrix with one row (x) or column (z)."""
    if x.ndim == z.ndim == 2:
        return dy.dot(z.T) if dy.__class__ is z.__class__ is ndarray else dy @ z.T
    if len(z.shape) == 1:
        return dy * z if len(x.shape) == 1 else unbroadcast(expand_dims(dy, -1) * z, x.shape)
    if len(x.shape) == 1:
        return unbroadcast((z @ expand_dims(dy, -1))[..., 0], x.shape)
    return unbroadcast(dy @ _flip(z), x.shape)


def _right(dy: Any, x: Any, z: Any) -> Any:
    """dL/dz = x^T dL/dy, with the same reading of vectors."""
    if x.ndim == z.ndim == 2:
        return x.T.dot(dy) if x.__class__ is dy.__class__ is ndarray else x.T @ dy
    if len(x.shape) == 1:
        return dy * x if len(z.shape) == 1 else unbroadcast(
            expand_dims(x, -1) * expand_dims(dy, -2), z.shape)
    if len(z.shape) == 1:
        return unbroadcast((_flip(x) @ expand_dims(dy, -1))[..., 0], z.shape)
    return unbroadcast(_flip(x) @ dy, z.shape)


def _product_shape(x: Any, z: Any) -> tuple[int, ...]:
    a, b = x.shape, z.shape
    inner = b[-2] if len(b) > 1 else b[-1] if b else None
    if not a or not b:
        raise ShapeError(f"matmul: shapes {a} and {b}: a 0-d value is not a matrix; use x * z")
    if a[-1] != inner:
        raise ShapeError(f"matmul: shapes {a} and {b} do not fit: {a[-1]} columns meet {inner} "
                         "rows. Transpose one of them with x.T or x.mT.")
    try:
        lead = np.broadcast_shapes(a[:-2], b[:-2])
    except ValueError:
        raise ShapeError(f"matmul: the batch axes of {a} and {b} do not broadcast") from None
    return (*lead, *a[-2:-1], *(b[-1:] if len(b) > 1 else ()))


def _batch_matmul(size: int, axes: Any, x: Any, z: Any) -> Any:
    """Vectors become matrices, the batch axis goes in front of all others."""
    ranks = [len(shape_of(v)) - (a is not None) for v, a in zip((x, z), axes, strict=True)]
    x = expand_dims(x, -2) if ranks[0] == 1 else x
    z = expand_dims(z, -1) if ranks[1] == 1 else z
    rank = max(2, *ranks)
    wide = []
    for v, a in zip((x, z), axes, strict=True):
        s = shape_of(v)
        wide.append(v if a is None else reshape(v, (size, *(1,) * (rank + 1 - len(s)), *s[1:])))
    y = matmul(*wide)
    y = y[..., 0, :] if ranks[0] == 1 else y
    return y[..., 0] if ranks[1] == 1 else y, 0


def _lower_matmul(b: loops.Builder, x: Any, z: Any) -> Any:
    out = _product_shape(x, z)
    dtype = promoted(x, z)
    x, z = loops.cast(b, x, dtype), loops.cast(b, z, dtype)
    x = loops.reshaped(b, x, (1, *x.shape)) if len(x.shape) == 1 else x
    z = loops.reshaped(b, z, (*z.shape, 1)) if len(z.shape) == 1 else z
    lead = np.broadcast_shapes(x.shape[:-2], z.shape[:-2])
    x, z = [loops.broadcast(b, v, (*lead, *v.shape[-2:])) for v in (x, z)]
    return loops.reshaped(b, b.dot(((x, z),)), out)


def _matmul_cases(rng: np.random.Generator) -> Any:
    for a, b in (((2, 3), (3, 4)), ((3,), (3,)), ((2, 3), (3,)), ((3,), (3, 2)),
                 ((5, 2, 3), (3, 4)), ((2, 3), (5, 3, 1)), ((2, 1, 2, 3), (4, 3, 2)),
                 ((1, 1), (1, 1)), ((0, 3), (3, 2)), ((2, 0), (0, 3)), ((4, 2, 3), (3,)),
                 ((3,), (4, 3, 2)), ((1, 2, 2), (3, 2, 2)), ((3, 2, 2), (1, 2, 2))):
        yield Case((draw(rng, a), draw(rng, b)))
    x = draw(rng, (3, 3))
    yield Case((np.asfortranarray(x), x[::-1]))
    yield Case((x.astype(np.float32), x.astype(np.float32)))
    yield Case((x, np.arange(9).reshape(3, 3)))


matmul = bilinear(
    "matmul", np.matmul, _left, _right,
    lambda x, z: aval(_product_shape(x, z), promoted(x, z)), numpy=[np.matmul],
    label=Label("{0} @ {1}", r"{0}\,{1}", ("{1}", "{0}"), "matrix product", "**",
                (r"{dy}\,{1}^\top", r"{0}^\top\,{dy}")),
    batch=_batch_matmul, lower=_lower_matmul, cases=Cases(_matmul_cases, NO_BROADCAST),
    doc="""The matrix product; a vector is a row on the left, a column on the right.

    Leading axes broadcast. Raises ShapeError if columns and rows do not match.

        Y = X Z,    dL/dX = dL/dY Z^T,    dL/dZ = X^T dL/dY

    >>> ad.matmul([[1.0, 2.0]], [[3.0], [4.0]])
    array([[11.]])
    """)


# ---- einsum

def parse_subscripts(subscripts: str, ndims: list[int]) -> tuple[list[str], str]:
    """The letters of each operand and of the result, with ellipses spelled out."""
    text = subscripts.replace(" ", "")
    left, arrow, right = text.partition("->")
    terms = left.split(",")
    for t in (*terms, right):
        rest = t.replace("...", "", 1)
        if rest and not (rest.isascii() and rest.isalpha()):
            raise ArgumentError(f"einsum: {t!r} in {subscripts!r} is made of letters, with at most "
                                "one ellipsis ...; the form is 'ij,jk->ik'")
    if len(terms) != len(ndims):
        raise ArgumentError(f"einsum: {subscripts!r} names {len(terms)} operands, and {len(ndims)} "
                            "were given")
    hidden = [n - len(t.replace("...", "")) for t, n in zip(terms, ndims, strict=True)]
    spare = [c for c in reversed(ascii_letters) if c not in text]
    most = max([h for h, t in zip(hidden, terms, strict=True) if "..." in t], default=0)
    for t, h in zip(terms, hidden, strict=True):
        if h < 0 or (h and "..." not in t):
            raise ShapeError(f"einsum: {t!r} in {subscripts!r} does not name the axes of an "
                             f"operand with {len(t.replace('...', '')) + h} axes")
    dots = "".join(spare[:most])
    terms = [t.replace("...", dots[most - h:] if h else "")
             for t, h in zip(terms, hidden, strict=True)]
    if not arrow:
        letters = sorted(set("".join(terms)) - set(dots))
        right = "..." + "".join(c for c in letters if "".join(terms).count(c) == 1)
    if dots and "..." not in right:
        raise ArgumentError(f"einsum: {subscripts!r} has ... on the left; write it in the result "
                            "too")
    out = right.replace("...", dots)
    if len(set(out)) != len(out) or set(out) - set("".join(terms)):
        raise ArgumentError(f"einsum: the result {right!r} of {subscripts!r} repeats a letter or "
                            "names one that no operand has")
    return terms, out


def _sizes(terms: list[str], xs: Any, text: str) -> dict[str, int]:
    size: dict[str, int] = {}
    for term, x in zip(terms, xs, strict=True):
        own: dict[str, int] = {}
        for letter, n in zip(term, x.shape, strict=True):
            before = size.setdefault(letter, n)
            if own.setdefault(letter, n) != n or (before != n and 1 not in (before, n)):
                shapes = ", ".join(str(v.shape) for v in xs)
                raise ShapeError(f"einsum: {letter!r} in {text!r} has size "
                                 f"{own[letter] if own[letter] != n else before} and {n}; "
                                 f"the shapes are {shapes}")
            size[letter] = n if before == 1 else before
    return size


def _einsum_impl(*xs: Any, subscripts: str) -> Any:
    y = np.einsum(subscripts, *xs)
    return y.copy() if len(xs) == 1 and np.may_share_memory(y, xs[0]) else y  # "ij->ji" is a view


def _einsum_known(*xs: Any, subscripts: str) -> Any:
    left, out = subscripts.split("->")
    size = _sizes(left.split(","), xs, subscripts)
    return aval(tuple(size[c] for c in out), promoted(*xs))


def _einsum_part(dy: Any, xs: Any, k: int, terms: list[str], out: str) -> Any:
    """The transpose of an einsum in its operand k: the others with dy, back to the axes of k."""
    term, shape = terms[k], xs[k].shape
    unique = "".join(dict.fromkeys(term))
    others = [(t, x) for j, (t, x) in enumerate(zip(terms, xs, strict=True)) if j != k]
    have = out + "".join(t for t, _ in others)
    found = "".join(c for c in unique if c in have)
    text = ",".join([out, *[t for t, _ in others]]) + "->" + found
    part = _einsum(dy, *[x for _, x in others], subscripts=text)
    size = dict(zip(term, shape, strict=True))
    # An axis of size 1 that met a longer one was broadcast: sum it again.
    grown = dict(zip(found, shape_of(part), strict=True))
    fitted = {c: min(n, size[c]) if 1 in (n, size[c]) else n for c, n in grown.items()}
    part = unbroadcast(part, tuple(fitted[c] for c in found))
    spread = reshape(part, tuple(fitted.get(c, 1) for c in unique))
    part = broadcast_to(spread, tuple(size[c] for c in unique))
    return part if unique == term else _embed(part, unique, term, shape)


def _embed(part: Any, unique: str, term: str, shape: tuple[int, ...]) -> Any:
    """Zeros of ``shape`` with ``part`` on the diagonals that repeated letters of ``term`` name."""
    grids = np.meshgrid(*[np.arange(n) for n in shape_of(part)], indexing="ij")
    where = dict(zip(unique, grids, strict=True))
    from .write import setitem
    return setitem(np.zeros(shape, part.dtype), tuple(where[c] for c in term), part)


def _einsum_vjp(dy: Any, y: Any, *xs_needs: Any, subscripts: str) -> tuple[Any, ...]:
    *xs, needs = xs_needs
    left, out = subscripts.split("->")
    terms = left.split(",")
    return tuple([_einsum_part(dy, xs, k, terms, out) if need else None
                  for k, need in enumerate(needs)])


def _einsum_jvp(dxs: Any, y: Any, *xs: Any, subscripts: str) -> Any:
    return total([None if dx is None else _einsum(*xs[:k], dx, *xs[k + 1:], subscripts=subscripts)
                  for k, dx in enumerate(dxs)])


def _batch_einsum(size: int, axes: Any, *xs: Any, subscripts: str) -> Any:
    left, out = subscripts.split("->")
    new = next(c for c in reversed(ascii_letters) if c not in subscripts)
    terms = [new + t if a is not None else t for t, a in zip(left.split(","), axes, strict=True)]
    return _einsum(*xs, subscripts=",".join(terms) + "->" + new + out), 0


def _lower_einsum(b: loops.Builder, *xs: Any, subscripts: str) -> Any:
    """Every operand seen in the space of all letters, multiplied, and summed over the lost ones."""
    left, out = subscripts.split("->")
    terms = left.split(",")
    size = _sizes(terms, xs, subscripts)
    letters = out + "".join(c for c in size if c not in out)
    shape = tuple(size[c] for c in letters)
    dtype = promoted(*xs)
    y = None
    for term, x in zip(terms, xs, strict=True):
        index = tuple((0, ((letters.index(c), 1),)) if n == size[c] else (0, ())
                      for c, n in zip(term, x.shape, strict=True))
        part = b.view(loops.cast(b, x, dtype), index, shape)
        y = part if y is None else b.elementwise("multiply", y, part)
    return b.reduce("add", y, tuple(range(len(out), len(letters))))


_EINSUMS = ("ij,jk->ik", "ij->ji", "ii->i", "ii->", "ij->j", "i,j->ij", "ij,ij->", "ijk,kl,l->ij",
            "i,i,i->i", "ij,j->i", "->", ",i->i", "iij->j", "iijj->ij")


def _einsum_cases(rng: np.random.Generator) -> Any:
    size = dict(zip("ijkl", (3, 3, 2, 4), strict=True))
    for text in _EINSUMS:
        terms = text.split("->")[0].split(",")
        shapes = [tuple(size[c] for c in t) for t in terms]
        yield Case(tuple(np.asarray(draw(rng, s)) for s in shapes), {"subscripts": text})
    yield Case((draw(rng, (3,)), draw(rng, (1,))), {"subscripts": "i,i->"})
    x = draw(rng, (3, 3))
    yield Case((np.asfortranarray(x), x[::-1]), {"subscripts": "ij,jk->ik"})
    yield Case((x.astype(np.float32),), {"subscripts": "ij->i"})
    yield Case((x, np.arange(3)), {"subscripts": "ij,j->i"})
    yield Case((np.ones((1, 1)),), {"subscripts": "ii->"})
    yield Case((np.ones((0, 3)), x), {"subscripts": "ij,jk->ik"})
    yield Case((draw(rng, (1, 3)), draw(rng, (2, 3))), {"subscripts": "ij,ij->ij"})
    yield Case((draw(rng, (2, 3)), draw(rng, (2, 1))), {"subscripts": "ij,ij->ij"})


_einsum = general(
    "einsum", _einsum_impl, aval=_einsum_known,
    vjp=_einsum_vjp, jvp=_einsum_jvp, keeps=frozenset("x"), batch=_batch_einsum,
    lower=_lower_einsum, products=True,
    label=Label("einsum('{subscripts}', {0}, ...)",
                r"\mathrm{{einsum}}_{{\mathtt{{{subscripts}}}}}({0}, \dots)",
                (r"\mathrm{{einsum}}(\cdot, \dots)",), "product rule", "((",
                (r"\mathrm{{einsum}}_{{\mathtt{{{back}}}}}({dy}{others})",)),
    cases=Cases(_einsum_cases))


@function(np.einsum)
def einsum(subscripts: str, *operands: Any, optimize: Any = False) -> Any:
    """The sum of products that the letters of ``subscripts`` describe (Einstein's convention).

        einsum("ij,jk->ik", X, Z)_ik = sum_j X_ij Z_jk

    >>> ad.einsum("ij,j->i", [[1.0, 2.0], [3.0, 4.0]], [1.0, 1.0])
    array([3., 7.])
    """
    if not isinstance(subscripts, str):
        raise ArgumentError("einsum: the first argument is a string, as in "
                            "ad.einsum('ij,jk->ik', x, z)")
    xs = [x if isinstance(x, (Box, ndarray)) else np.asarray(x) for x in operands]
    terms, out = parse_subscripts(subscripts, [len(x.shape) for x in xs])
    _sizes(terms, xs, subscripts)
    y = _einsum(*xs, subscripts=",".join(terms) + "->" + out)
    return note_view(y, xs[0]) if len(xs) == 1 and {*terms[0]} == {*out} else y


# ---- written with them

@composed(np.dot, label=Label("dot({0}, {1})", r"{0} \cdot {1}", ("{1}", "{0}"),
                              "product rule", "(*"),
          cases=pair_cases(((3,), (3,), {}), ((2, 3), (3,), {}), ((3,), (3, 2), {}), ((), (3,), {}),
                           ((2, 3), (), {}), ((2, 3), (4, 3, 2), {}), ((2, 1, 3), (3,), {}),
                           ((0, 3), (3,), {}), ((2, 0), (0, 2), {})))
def dot(x: Any, z: Any) -> Any:
    """The inner product of vectors, the product of matrices; the last axis with the last but one.

    >>> ad.dot([1.0, 2.0], [3.0, 4.0])
    np.float64(11.0)
    """
    a, b = len(shape_of(x)), len(shape_of(z))
    if a == 0 or b == 0:
        return np.multiply(x, z)
    return matmul(x, z) if a <= 2 and b <= 2 else tensordot(x, z, ((-1,), (-2 if b > 1 else -1,)))


@composed(np.tensordot, kind=gives_arrays,
          label=Label("tensordot({0}, {1})", r"\mathrm{{tensordot}}({0}, {1})", ("{1}", "{0}"),
                      "product rule"),
          cases=pair_cases(
              ((2, 3), (3, 2), {"axes": 1}), ((2, 3), (2, 3), {"axes": 2}),
              ((2,), (3,), {"axes": 0}),
              ((2, 3, 4), (4, 2), {"axes": ((0, -1), (1, 0))}), ((0, 3), (3, 2), {"axes": 1}),
              ((), (2,), {"axes": 0}), ((2, 3), (3,), {"axes": (-1, 0)}), without=CONTRACTED))
def tensordot(x: Any, z: Any, axes: Any = 2) -> Any:
    """The sum of products over pairs of axes; the axes left over follow each other.

    >>> ad.tensordot([1.0, 2.0], [3.0, 4.0], 1)
    array(11.)
    """
    a, b = len(shape_of(x)), len(shape_of(z))
    if isinstance(axes, int):
        if axes > min(a, b):
            raise ShapeError(f"tensordot: {axes} axes cannot be paired in shapes {shape_of(x)} and "
                             f"{shape_of(z)}")
        axes = (tuple(range(a - axes, a)), tuple(range(axes)))
    first, second = axes_once("tensordot", axes[0], a), axes_once("tensordot", axes[1], b)
    if len(first) != len(second):
        raise ArgumentError(f"tensordot: axes {axes} does not pair as many axes of x as of z")
    left, right = list(ascii_letters[:a]), list(ascii_letters[a:a + b])
    for i, j in zip(first, second, strict=True):
        right[j] = left[i]
    shared = {left[i] for i in first}
    out = [c for c in left + right if c not in shared]
    return einsum(f"{''.join(left)},{''.join(right)}->{''.join(out)}", x, z)


@composed(np.outer, label=Label("outer({0}, {1})", r"{0}\,{1}^\top", ("{1}", "{0}"),
                                "product rule", "(*", (r"{dy}\,{1}", r"{dy}^\top\,{0}")),
          cases=pair_cases(((2,), (3,), {}), ((2, 2), (3,), {}), ((), (3,), {}), ((3,), (), {}),
                           ((0,), (3,), {})))
def outer(x: Any, z: Any) -> Any:
    """All products of an element of ``x`` with one of ``z``, both flattened.

        Y_ij = x_i z_j

    >>> ad.outer([1.0, 2.0], [3.0, 4.0])
    array([[3., 4.],
           [6., 8.]])
    """
    return reshape(x, (-1, 1)) * reshape(z, (1, -1))


@composed(np.inner, label=Label("inner({0}, {1})", r"\left\langle {0}, {1} \right\rangle",
                                ("{1}", "{0}"), "product rule"),
          cases=pair_cases(((3,), (3,), {}), ((2, 3), (4, 3), {}), ((), (2,), {}), ((2,), (), {}),
                           ((0, 3), (3,), {})))
def inner(x: Any, z: Any) -> Any:
    """The sum of products along the last axes.

    >>> ad.inner([1.0, 2.0], [3.0, 4.0])
    np.float64(11.0)
    """
    if not shape_of(x) or not shape_of(z):
        return np.multiply(x, z)
    return tensordot(x, z, ((-1,), (-1,)))


@composed(np.trace, label=Label("trace({0})", r"\mathrm{{tr}}({0})", ("I",), "trace", "((",
                                (r"{dy}\,I",)),
          cases=array_cases(
              {}, {"offset": 1}, {"offset": -1}, {"offset": 2}, {"axis1": 1, "axis2": 0},
              shapes=((3, 3), (2, 3, 4), (3, 4)), layout=False,
              without={"0-d": "a diagonal needs two axes",
                       "negative stride": "its cases are those of einsum",
                       "broadcast left": "one array", "broadcast right": "one array"}, extra=[
                  Case((np.ones((1, 1)),)), Case((np.ones((0, 3)),)),
                  Case((np.arange(4).reshape(2, 2),)),
                  Case((np.asfortranarray(np.arange(6.0).reshape(2, 3)),)),
                  Case((np.ones((2, 2), np.float32),)), Case((np.ones((2, 3)),), {"offset": 5})]))
def trace(x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    """The sum of a diagonal.

        y = sum_i X_ii,    dy/dX = I

    >>> ad.trace([[1.0, 2.0], [3.0, 4.0]])
    np.float64(5.0)
    """
    if len(shape_of(x)) < 2:
        raise ShapeError(f"trace: a diagonal needs two axes; the shape is {shape_of(x)}")
    x = moveaxis(x, (axis1, axis2), (-2, -1))
    rows, columns = shape_of(x)[-2:]
    x = x[..., :, offset:] if offset >= 0 else x[..., -offset:, :]
    n = max(min(rows - max(-offset, 0), columns - max(offset, 0)), 0)
    if x.dtype.kind not in "fc":  # counted as by a sum
        x = astype(x, _summed(x.dtype))
    return einsum("...ii->...", x[..., :n, :n])
