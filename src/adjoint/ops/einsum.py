"""Sums of products by the letters of their axes, computed two operands at a time.

`contracted` is that rule, for values and for what is lowered: several operands are multiplied in
the order that takes the fewest multiplications, and a pair is a product of matrices where its
letters are those of one (`matrices`). All other sums run over the space of all letters.
"""

from __future__ import annotations

from functools import lru_cache, partial
from math import prod
from string import ascii_letters
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from adjoint.core.box import Box
from adjoint.core.node import aval, ndarray
from adjoint.core.primitive import Label
from adjoint.errors import ArgumentError, ShapeError
from adjoint.scalars import note_view

from . import loops
from .cases import Case, Cases, draw
from .declare import function, general, promoted, shape_of, total
from .shape import broadcast_to, reshape, unbroadcast

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

BLAS = "fdFD"  # the dtypes of which it multiplies matrices
FEW = 4096  # multiplications, below which NumPy's own loop is faster than a product of matrices
LEAST = 4  # elements along each axis of what is lowered as a product of matrices
MOST = 1 << 27  # elements of a product on the way; a larger one is not made


@lru_cache(maxsize=1024)
def parse_subscripts(subscripts: str, ndims: tuple[int, ...]) -> tuple[tuple[str, ...], str]:
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
    terms = tuple([t.replace("...", dots[most - h:] if h else "")
                   for t, h in zip(terms, hidden, strict=True)])
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


@lru_cache(maxsize=1024)
def sizes_of(terms: tuple[str, ...], shapes: tuple[tuple[int, ...], ...],
             text: str) -> dict[str, int]:
    """The size of each letter, which nobody changes. ShapeError if one has several but 1."""
    size: dict[str, int] = {}
    for term, shape in zip(terms, shapes, strict=True):
        own: dict[str, int] = {}
        for letter, n in zip(term, shape, strict=True):
            before = size.setdefault(letter, n)
            if own.setdefault(letter, n) != n or (before != n and 1 not in (before, n)):
                told = ", ".join(map(str, shapes))
                raise ShapeError(f"einsum: {letter!r} in {text!r} has size "
                                 f"{own[letter] if own[letter] != n else before} and {n}; "
                                 f"the shapes are {told}")
            size[letter] = n if before == 1 else before
    return size


class Matrices(NamedTuple):
    """A product of two operands as one of matrices: the letters of their axes."""

    batch: str  # in both, and in the result
    rows: str  # in the first
    columns: str  # in the second
    summed: str  # in both, and not in the result


@lru_cache(maxsize=1024)
def matrices(terms: tuple[str, ...], out: str) -> Matrices | None:
    """The pair of terms as a product of matrices; None if it is none.

    >>> from adjoint.ops.einsum import matrices
    >>> matrices(("btc", "cd"), "btd")
    Matrices(batch='', rows='bt', columns='d', summed='c')
    """
    if len(terms) != 2:
        return None
    x, z = ["".join(dict.fromkeys(t)) for t in terms]
    both = [c for c in x if c in z]
    found = Matrices("".join([c for c in both if c in out]), "".join([c for c in x if c not in z]),
                     "".join([c for c in z if c not in x]),
                     "".join([c for c in both if c not in out]))
    alone = found.rows + found.columns
    return found if all(found[1:]) and all(c in out for c in alone) else None


@lru_cache(maxsize=1024)
def order(terms: tuple[str, ...], shapes: tuple[tuple[int, ...], ...],
          out: str) -> tuple[tuple[int, ...], ...]:
    """Which operands are multiplied at a time; what they give stands behind those that are left.

    The order is NumPy's: the best one of up to four operands, for more the best pair each time.

    >>> from adjoint.ops.einsum import order
    >>> order(("ij", "jk", "k"), ((9, 9), (9, 9), (9,)), "i")
    ((1, 2), (0, 1))
    """
    if len(terms) < 3:
        return (tuple(range(len(terms))),)
    how = "optimal" if len(terms) < 5 else "greedy"
    like = [np.broadcast_to(0.0, s) for s in shapes]  # of any size, in no memory
    path = np.einsum_path(f"{','.join(terms)}->{out}", *like, optimize=(how, MOST))[0]
    return tuple(path[1:])


def contracted(xs: Sequence[Any], terms: Sequence[str], out: str,
               product: Callable[[Sequence[Any], tuple[str, ...], str], Any]) -> Any:
    """The sum of products, by ``product`` of as many operands at a time as `order` says."""
    left, letters = [*xs], [*terms]
    for some in order(tuple(terms), tuple([x.shape for x in xs]), out):
        picked = [left[k] for k in some]
        own = tuple([letters[k] for k in some])
        left = [x for k, x in enumerate(left) if k not in some]
        letters = [t for k, t in enumerate(letters) if k not in some]
        needed = {*out, *"".join(letters)}
        form = matrices(own, "".join(sorted(needed & {*"".join(own)})))
        kept = "".join(form[:3]) if form else "".join(dict.fromkeys("".join(own)))
        result = "".join([c for c in kept if c in needed]) if letters else out
        left.append(product(picked, own, result))
        letters.append(result)
    return left[0]


def _product(xs: Sequence[Any], terms: tuple[str, ...], out: str) -> Any:
    """Some operands multiplied and summed: by BLAS if it is a product of matrices."""
    form = matrices(terms, out)
    size = {c: n for t, x in zip(terms, xs, strict=True) for c, n in zip(t, x.shape, strict=True)}
    if form is None or np.result_type(*xs).char not in BLAS or prod(size.values()) < FEW or any(
            tuple([size[c] for c in t]) != x.shape or len({*t}) < len(t)
            for t, x in zip(terms, xs, strict=True)):
        return np.einsum(f"{','.join(terms)}->{out}", *xs)
    x, z = xs
    first, second = terms
    if next(c for c in out if c not in form.batch) in form.columns:  # the result lies as it is made
        x, z, first, second = z, x, second, first
        form = form._replace(rows=form.columns, columns=form.rows)

    def seen(x: Any, term: str, *groups: str) -> Any:
        turned = x.transpose([term.index(c) for c in form.batch + "".join(groups)])
        return turned.reshape(*turned.shape[:len(form.batch)],
                              *[prod([size[c] for c in g]) for g in groups])
    y = seen(x, first, form.rows, form.summed) @ seen(z, second, form.summed, form.columns)
    made = form.batch + form.rows + form.columns
    y = y.reshape([size[c] for c in made]).transpose([made.index(c) for c in out])
    return np.ascontiguousarray(y)


def _einsum_impl(*xs: Any, subscripts: str) -> Any:
    if len(xs) > 1 and prod([n for x in xs for n in x.shape]) >= FEW:
        left, out = subscripts.split("->")
        terms = tuple(left.split(","))
        return _product(xs, terms, out) if len(xs) == 2 else contracted(xs, terms, out, _product)
    y = np.einsum(subscripts, *xs)
    return y.copy() if len(xs) == 1 and np.may_share_memory(y, xs[0]) else y  # "ij->ji" is a view


def _einsum_known(*xs: Any, subscripts: str) -> Any:
    left, out = subscripts.split("->")
    size = sizes_of(tuple(left.split(",")), tuple([x.shape for x in xs]), subscripts)
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
    left, out = subscripts.split("->")
    terms, dtype = tuple(left.split(",")), promoted(*xs)
    size = sizes_of(terms, tuple([x.shape for x in xs]), subscripts)
    return contracted([loops.cast(b, x, dtype) for x in xs], terms, out,
                      partial(_lower_product, b, size))


def _lower_product(b: loops.Builder, size: dict[str, int], xs: Sequence[Any],
                   terms: tuple[str, ...], out: str) -> Any:
    """A product of matrices; else every operand in the space of all letters, and a sum over it."""
    def seen(x: Any, term: str, letters: str) -> Any:
        index = tuple([(0, ((letters.index(c), 1),)) if n == size[c] else (0, ())
                       for c, n in zip(term, x.shape, strict=True)])
        return b.view(x, index, tuple([size[c] for c in letters]))

    def merged(x: Any, groups: Sequence[str]) -> Any:
        shape = [prod([size[c] for c in g]) for g in groups]
        return loops.reshaped(b, x, (*x.shape[:len(form.batch)], *shape)) if form else x
    form = matrices(terms, out)
    if form and xs[0].dtype.kind == "f" and all(
            prod([size[c] for c in g]) >= LEAST for g in form[1:]):
        pair = [merged(seen(x, t, form.batch + "".join(g)), g) for x, t, g in zip(
            xs, terms, ((form.rows, form.summed), (form.summed, form.columns)), strict=True)]
        made = form.batch + form.rows + form.columns
        y = loops.reshaped(b, b.dot((tuple(pair),)), tuple([size[c] for c in made]))
        return seen(y, made, out)
    letters = out + "".join(dict.fromkeys([c for c in "".join(terms) if c not in out]))
    parts = [seen(x, t, letters) for x, t in zip(xs, terms, strict=True)]
    y = parts[0]
    for part in parts[1:]:
        y = b.elementwise("multiply", y, part)
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

    Several operands are multiplied two at a time, in the order that takes the fewest
    multiplications, and a pair that is a product of matrices is computed as one, whatever
    ``optimize`` says. Raises ArgumentError for subscripts that name no such sum, ShapeError for
    axes of one letter whose sizes differ.

    >>> ad.einsum("ij,j->i", [[1.0, 2.0], [3.0, 4.0]], [1.0, 1.0])
    array([3., 7.])
    """
    if not isinstance(subscripts, str):
        raise ArgumentError("einsum: the first argument is a string, as in "
                            "ad.einsum('ij,jk->ik', x, z)")
    xs = [x if isinstance(x, (Box, ndarray)) else np.asarray(x) for x in operands]
    shapes = tuple([x.shape for x in xs])
    terms, out = parse_subscripts(subscripts, tuple(map(len, shapes)))
    sizes_of(terms, shapes, subscripts)
    y = _einsum(*xs, subscripts=",".join(terms) + "->" + out)
    return note_view(y, xs[0]) if len(xs) == 1 and {*terms[0]} == {*out} else y
