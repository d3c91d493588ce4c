"""Valid arguments of a row: tests, fuzz, parity and docs read them, so a new row is tested at once.

A `Case` is one call. What it covers (0-d, empty, broadcasting, ...) is read off its arguments by
`tags`, so it cannot be claimed; a row says in ``Cases(without={tag: reason})`` what it cannot have.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

Domain = tuple[float, float]
Shape = tuple[int, ...]
TAGS = ("0-d", "size 1", "empty", "fortran", "negative stride", "float32", "integer",
        "broadcast left", "broadcast right")
CONTRACTED = {"broadcast left": "axes are contracted, not broadcast",
              "broadcast right": "axes are contracted, not broadcast"}


@dataclass(frozen=True)
class Case:
    """One valid call of a row: ``row(*args, **params)``.

    ``domain`` is "regular", "kink" (one-sided derivatives differ) or "singular" (a partial is
    infinite or missing); finite differences hold only at regular points.
    """

    args: tuple[Any, ...]
    params: dict[str, Any] = field(default_factory=dict)
    domain: str = "regular"


@dataclass(frozen=True)
class Cases:
    """The generator of a row's cases, with the tags that it cannot have and why.

    ``near``: elements cannot change places (a matrix would not stay positive definite), so that
    tests of batches draw values near those of the case.
    """

    generate: Callable[[np.random.Generator], Iterable[Case]]
    without: Mapping[str, str] = field(default_factory=dict)
    near: bool = False

    def __call__(self, rng: np.random.Generator) -> Iterator[Case]:
        """The cases, drawn from ``rng``."""
        return iter(self.generate(rng))


# ---- what a case covers

def tags(case: Case) -> set[str]:
    """What a case covers, read off its array arguments."""
    arrays = [np.asarray(a) for arg in case.args
              for a in (arg if isinstance(arg, tuple) else (arg,))]
    found = {case.domain}
    for a in arrays:
        found |= array_tags(a)
    shape = common_shape(arrays)
    if shape is not None and arrays[0].shape != shape:
        found.add("broadcast left")
    if shape is not None and arrays[-1].shape != shape:
        found.add("broadcast right")
    return found


def array_tags(a: np.ndarray[Any, Any]) -> set[str]:
    """What one array covers."""
    facts = {
        "0-d": a.ndim == 0, "size 1": a.ndim > 0 and a.size == 1, "empty": a.size == 0,
        "fortran": a.ndim > 1 and a.flags.f_contiguous and not a.flags.c_contiguous,
        "negative stride": any(s < 0 for s in a.strides), "float32": a.dtype == np.float32,
        "integer": a.dtype.kind in "iu", "bool": a.dtype.kind == "b"}
    return {tag for tag, holds in facts.items() if holds}


def common_shape(arrays: Sequence[np.ndarray[Any, Any]]) -> Shape | None:
    """The shape that the arrays broadcast to; None if they do not."""
    try:
        return np.broadcast_shapes(*[a.shape for a in arrays])
    except ValueError:
        return None


# ---- arrays

def draw(rng: np.random.Generator, shape: Shape, domain: Domain = (-2.0, 2.0)) -> Any:
    """Values in the domain, at least a thousandth of it away from its ends and from 0."""
    low, high = domain
    gap = 0.001 * (high - low)
    x = rng.uniform(low + gap, high - gap, shape)
    x = np.where(np.abs(x) < gap, 50 * gap + low * (low > 0), x)
    return x if shape else float(x)


def layouts(rng: np.random.Generator, domain: Domain = (-2.0, 2.0), empty: bool = True
            ) -> Iterator[Any]:
    """One array of every kind of shape and memory layout."""
    yield np.float64(draw(rng, (), domain))
    for shape in ((1,), (4,), (2, 3), *(((0,), (0, 3)) if empty else ())):
        yield draw(rng, shape, domain)
    yield np.asfortranarray(draw(rng, (3, 4), domain))
    yield draw(rng, (5,), domain)[::-1]
    yield draw(rng, (3,), domain).astype(np.float32)


def integers(domain: Domain) -> np.ndarray[Any, Any]:
    """Integers of the domain, as many as there are up to four."""
    first, last = int(np.ceil(domain[0] + 1e-9)), int(np.floor(domain[1] - 1e-9))
    return np.arange(first, last + 1, dtype=np.int64)[-4:]


# ---- cases of the usual kinds

def elementwise_cases(domains: Sequence[Domain], kinks: Sequence[tuple[float, ...]] = (),
                      singular: Sequence[tuple[float, ...]] = (),
                      without: Mapping[str, str] | None = None,
                      regular: Sequence[tuple[float, ...]] = ()) -> Cases:
    """The cases of an elementwise row, from the domain of each argument and its special points."""
    def generate(rng: np.random.Generator) -> Iterator[Case]:
        first, *rest = domains
        for x in layouts(rng, first):
            yield Case((x, *[np.asarray(draw(rng, x.shape, d), x.dtype)[()] for d in rest]))
        whole = integers(first)
        if whole.size:
            yield Case((whole, *[draw(rng, whole.shape, d) for d in rest]))
        if rest:
            yield from broadcast_cases(rng, domains)
        for points, domain in ((regular, "regular"), (kinks, "kink"), (singular, "singular")):
            for point in points:
                yield Case(tuple(np.array([v, v]) for v in point), {}, domain)
    return Cases(generate, without or {})


def broadcast_cases(rng: np.random.Generator, domains: Sequence[Domain]) -> Iterator[Case]:
    """Two arrays of different shapes or dtypes (and more of their common shape)."""
    first, second, *rest = domains
    for a, b in (((3, 1), (4,)), ((4,), (2, 1, 4)), ((), (3,)), ((2, 3), ()), ((1,), (3,)),
                 ((3,), (1,)), ((0, 1), (2,))):
        yield Case((np.asarray(draw(rng, a, first)), np.asarray(draw(rng, b, second)),
                    *[draw(rng, np.broadcast_shapes(a, b), d) for d in rest]))
    z = integers(second)
    if z.size:
        yield Case((draw(rng, z.shape, first), z, *[draw(rng, z.shape, d) for d in rest]))


def array_cases(*params: dict[str, Any], shapes: Sequence[Shape] = ((2, 3),),
                domain: Domain = (-2.0, 2.0), extra: Sequence[Case] = (), layout: bool = True,
                empty: bool = True, integer: bool = True,
                without: Mapping[str, str] | None = None) -> Cases:
    """The cases of a row with one array: each of ``params``, the first also on every layout."""
    def generate(rng: np.random.Generator) -> Iterator[Case]:
        for p in params:
            for shape in shapes:
                yield Case((np.asarray(draw(rng, shape, domain)),), p)
        if layout:
            for x in layouts(rng, domain, empty):
                yield Case((x,), params[0])
            if integer:
                yield Case((integers((-3.0, 5.0)),), params[0])
        yield from extra
    return Cases(generate, without or {})


def pair_cases(*shapes: tuple[Shape, Shape, dict[str, Any]], square: dict[str, Any] | None = None,
               without: Mapping[str, str] | None = None) -> Cases:
    """The cases of a product of two arrays: shapes with parameters, two matrices in each layout."""
    def generate(rng: np.random.Generator) -> Iterator[Case]:
        for a, b, p in shapes:
            yield Case((np.asarray(draw(rng, a))[()], np.asarray(draw(rng, b))[()]), p)
        x, p = draw(rng, (3, 3)), square or {}
        yield Case((np.asfortranarray(x), x[::-1]), p)
        yield Case((x.astype(np.float32), x.astype(np.float32)), p)
        yield Case((x, np.arange(9).reshape(3, 3)), p)
        yield Case((draw(rng, (1, 1)), draw(rng, (1, 1))), p)
    return Cases(generate, without or {})
