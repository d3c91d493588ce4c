"""Builders: what follows from the kind of an operation is derived here, once.

Each enters one row into the registry and returns the function that users call. Any field of the row
can be given by name to override what the builder derives. Rules are written in the library's own
operations, so they can be differentiated again, batched, traced and compiled.
"""

from __future__ import annotations

import dis
import sys
from dataclasses import dataclass
from functools import lru_cache, wraps
from typing import TYPE_CHECKING, Any

import numpy as np

from adjoint.core.box import Box, bind, evaluate
from adjoint.core.node import NO_PARAMS, aval, ndarray
from adjoint.core.primitive import NUMPY, PUBLIC, Label, Primitive, register
from adjoint.core.reverse import Tracked
from adjoint.errors import ArgumentError, ShapeError
from adjoint.scalars import as_array

from . import loops
from .cases import Cases, Domain, elementwise_cases
from .flat import binary, unary, unary_with
from .multilinear import multilinear
from .protocol import BINARY, UNARY

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Function = Any
APPLY: dict[str, Function] = {}  # name -> the function that applies the row and nothing else
Points = list[tuple[float, ...]] | tuple[()]
REALS: Domain = (-2.0, 2.0)


# ---- shapes and dtypes

def shape_of(x: Any) -> tuple[int, ...]:
    """The shape of an array, a Box, an Aval, a number or a list."""
    found = getattr(x, "shape", None)
    return np.shape(x) if found is None else found


def arrayed(x: Any) -> Any:
    """``x`` as something with a shape: lists are joined, tracked values in them too."""
    return x if hasattr(x, "shape") else PUBLIC["array"](x) if holds_box(x) else np.asarray(x)


def holds_box(x: Any) -> bool:
    """Whether nested lists hold a Box."""
    return any(map(holds_box, x)) if isinstance(x, (list, tuple)) else isinstance(x, Box)


def is_tracked(x: Any) -> bool:
    """Whether a derivative flows through ``x``, or it has no value to give away."""
    while isinstance(x, Box):
        if not isinstance(x, Tracked) or x.node is not None:
            return True
        x = x.value
    return False


def broadcast_shape(name: str, *xs: Any) -> tuple[int, ...]:
    """The common shape by NumPy's rule, or an error that shows the shapes."""
    shapes = {x.shape for x in xs} - {()}
    if len(shapes) < 2:
        return shapes.pop() if shapes else ()
    try:
        return np.broadcast_shapes(*[x.shape for x in xs])
    except ValueError:
        raise ShapeError(misfit(name, *xs)) from None


def misfit(name: str, *xs: Any) -> str:
    """The message for shapes that do not broadcast."""
    shapes = " and ".join(str(shape_of(x)) for x in xs)
    return (f"{name}: the shapes {shapes} do not broadcast: aligned at the right, every two sizes "
            "must be equal or one of them 1. Insert an axis with x[:, None], or reshape one.")


@lru_cache(maxsize=4096)
def dtype_of(impl: Callable[..., Any], *kinds: Any) -> Any:
    """The dtype that ``impl`` gives for these dtypes (a type stands for a weak Python number)."""
    ones = [k(1) if isinstance(k, type) else np.ones(1, k) for k in kinds]
    with np.errstate(all="ignore"):
        return np.asarray(impl(*ones)).dtype


def kind_of(known: Any) -> Any:
    """What `dtype_of` wants to know of an Aval."""
    return type(known.dtype.type(0).item()) if known.weak else known.dtype


def promoted(*avals: Any) -> Any:
    """The dtype that NumPy promotes these Avals to (NEP 50)."""
    return np.result_type(*[kind_of(a)(1) if a.weak else a.dtype for a in avals])


# ---- products with a partial

def product(partial: Any) -> Function:
    """The function (d, y, *xs) -> d * partial.

    Literals are resolved here, once: a value of the user's may be the int 1 too.
    """
    if partial == 1:
        return lambda d, *_: d
    if partial == -1:
        return lambda d, *_: -d
    return lambda d, *ys: d * partial(*ys)


def total(parts: Sequence[Any]) -> Any:
    """The sum of what is not None; None if nothing is."""
    out = None
    for p in parts:
        out = p if out is None else out if p is None else out + p
    return out


def reads(partials: Sequence[Any]) -> frozenset[str | int]:
    """Which arguments the partials read, asked of their bytecode: ``keeps`` cannot lag behind."""
    found: set[str | int] = set()
    for p in partials:
        if isinstance(p, int):
            continue
        names = p.__code__.co_varnames
        used = set(p.__code__.co_cellvars)
        for i in dis.get_instructions(p):
            if i.opname.startswith("LOAD_FAST"):
                used |= set(i.argval) if isinstance(i.argval, tuple) else {i.argval}
        arguments = names[:p.__code__.co_argcount]
        found |= {"y" if k == 0 else k - 1 for k, name in enumerate(arguments) if name in used}
    return frozenset(found)


# ---- the kinds

def elementwise(name: str, impl: Function, *partials: Any, label: Label, numpy: Sequence[Any] = (),
                doc: str = "", singular: bool = False, domain: Domain | Sequence[Domain] = REALS,
                kinks: Points = (), singular_at: Points = (), without: dict[str, str] | None = None,
                code: str = "", **fields: Any) -> Function:
    """A row ``y = f(x_k)``, element by element.

    One partial per argument gives jvp, vjp, aval, batch and depends. A partial is
    ``lambda y, *xs: ...`` or the literal 1 or -1. ``domain`` (one interval, or one per argument),
    ``kinks`` and ``singular_at`` give the cases; ``code`` is the scalar function it lowers to (its
    own name if empty).
    """
    parts = [product(p) for p in partials]

    def jvp(dxs: Any, y: Any, *xs: Any) -> Any:
        return total([None if d is None else part(d, y, *xs)
                      for d, part in zip(dxs, parts, strict=True)])

    cases = elementwise_cases(domains_of(domain, len(partials)), kinks, singular_at, without)
    derived: dict[str, Any] = {
        "jvp": jvp, "vjp": elementwise_vjp(partials, parts),
        "aval": known_elementwise(name, impl), "batch": batch_elementwise(name),
        "lower": lower_elementwise(code or name, impl), "keeps": reads(partials),
        "depends": "elementwise", "cases": cases, "label": label, "singular": singular}
    row = register(Primitive(name, impl, elementwise=True, **derived | fields))
    return public(row, len(partials), numpy, doc)


def domains_of(domain: Domain | Sequence[Domain], arity: int) -> Sequence[Domain]:
    """One interval for each argument; ``domain`` may be one for all."""
    found: Any = [domain] * arity if isinstance(domain[0], (int, float)) else domain
    return found


def known_elementwise(name: str, impl: Function) -> Function:
    """The Aval rule of an elementwise row: shapes broadcast, and NumPy says the dtype."""
    return lambda *avals: aval(
        broadcast_shape(name, *avals), dtype_of(impl, *map(kind_of, avals)))


def elementwise_vjp(partials: Sequence[Any], back: Sequence[Function]) -> Function:
    """The joint vjp of an elementwise row, written out for one and two arguments."""
    if len(partials) == 1:
        (p,), (part,) = partials, back
        if isinstance(p, int):
            return lambda dy, y, x, needs: (part(dy, y, x),)
        return lambda dy, y, x, needs: (dy * p(y, x),)  # the same with one call less
    if len(partials) == 2:
        first, second = back
        return lambda dy, y, x, z, needs: (
            first(dy, y, x, z) if needs[0] else None, second(dy, y, x, z) if needs[1] else None)

    def vjp(dy: Any, y: Any, *xs_needs: Any) -> tuple[Any, ...]:
        *xs, needs = xs_needs
        return tuple([part(dy, y, *xs) if need else None
                      for part, need in zip(back, needs, strict=True)])

    return vjp


def constant(name: str, impl: Function, arity: int, *, label: Label, numpy: Sequence[Any] = (),
             doc: str = "", domain: Domain | Sequence[Domain] = REALS, code: str = "",
             **fields: Any) -> Function:
    """A row without derivative, said aloud: comparisons, rounding, argmax.

    Elementwise unless ``fields`` say otherwise.
    """
    derived: dict[str, Any] = {
        "aval": known_elementwise(name, impl), "batch": batch_elementwise(name),
        "lower": lower_elementwise(code or name, impl), "elementwise": True, "label": label,
        "depends": "elementwise", "cases": elementwise_cases(domains_of(domain, arity))}
    row = register(Primitive(name, impl, nondiff=True, **derived | fields))
    return public(row, arity if row.elementwise else 0, numpy, doc)


def linear(name: str, impl: Function, transpose: Function, known: Function, *, label: Label,
           numpy: Sequence[Any] = (), doc: str = "", **fields: Any) -> Function:
    """A row ``y = A x``; its jvp is itself, its vjp ``transpose(dy, x, **params)``, x an Aval."""
    def jvp(dxs: Any, y: Any, x: Any, **params: Any) -> Any:
        return None if dxs[0] is None else bind(row, dxs, params)

    def vjp(dy: Any, y: Any, x: Any, needs: Any, **params: Any) -> tuple[Any]:
        return (transpose(dy, x, **params),)
    derived: dict[str, Any] = {"jvp": jvp, "vjp": vjp, "label": label}
    row = register(Primitive(name, impl, known, **derived | fields))
    return public(row, 1, numpy, doc)


def bilinear(name: str, impl: Function, left: Function, right: Function, known: Function, *,
             label: Label, numpy: Sequence[Any] = (), doc: str = "", arity: int = 2, **fields: Any
             ) -> Function:
    """A row ``y = A(x, z)``, linear in each; ``left(dy, x, z)`` and ``right`` transpose it.

    ``arity`` 0 is for a row with parameters.
    """
    def jvp(dxs: Any, y: Any, x: Any, z: Any, **params: Any) -> Any:
        dx, dz = dxs
        return total([None if dx is None else bind(row, (dx, z), params),
                      None if dz is None else bind(row, (x, dz), params)])

    def vjp(dy: Any, y: Any, x: Any, z: Any, needs: Any, **params: Any) -> tuple[Any, Any]:
        return (left(dy, x, z, **params) if needs[0] else None,
                right(dy, x, z, **params) if needs[1] else None)
    derived: dict[str, Any] = {"jvp": jvp, "vjp": vjp, "label": label, "keeps": frozenset("x")}
    row = register(multilinear(Primitive(name, impl, known, **derived | fields)))
    return public(row, arity, numpy, doc)


def general(name: str, impl: Function, *, numpy: Sequence[Any] = (), doc: str = "", arity: int = 0,
            products: bool = False, **fields: Any) -> Function:
    """A row with jvp and vjp both written; the adjoint test holds them against each other.

    ``products`` says that it is a sum of products of its arguments.
    """
    row = Primitive(name, impl, **fields)
    return public(register(multilinear(row) if products else row), arity, numpy, doc)


@dataclass(frozen=True)
class Composed:
    """An operation written in other rows, with a label of its own for pictures."""

    name: str
    decompose: Function
    label: Label
    cases: Cases


COMPOSED: dict[str, Composed] = {}


def composed(*numpy: Any, label: Label, cases: Cases, kind: Function | None = None) -> Function:
    """Decorator for an operation written in other rows, which differentiates because they do."""
    def enter(f: Function) -> Function:
        COMPOSED[f.__name__] = Composed(f.__name__, f, label, cases)
        return function(*numpy, kind=kind)(f)
    return enter


def function(*numpy: Any, kind: Function | None = None) -> Function:
    """Decorator for a public function that does more than apply its row (axes, defaults).

    ``kind`` makes of a result without axes what NumPy has there; rules do without.
    """
    def enter(f: Function) -> Function:
        shown = f if kind is None else kind(f)
        PUBLIC[f.__name__] = shown
        NUMPY.update(dict.fromkeys(numpy, shown))
        return f
    return enter


def gives_arrays(f: Function) -> Function:
    """``f`` with arrays without axes, where it gives scalars."""
    @wraps(f)
    def apply(*args: Any, **params: Any) -> Any:
        return as_array(f(*args, **params))
    return apply


# ---- the public function of a row

def public(row: Primitive, arity: int, numpy: Sequence[Any], doc: str) -> Function:
    """The function that users and rules call; NumPy's protocols and operators reach it too."""
    if arity == 1 and row.vjp is not None:
        f = unary_with(row) if not row.elementwise else (
            unary_part(row) if gives_parts(row.impl) else unary(row))
        install_operator(row.name, f)
    elif arity == 2 and row.vjp is not None:
        f = binary_function(row)
    else:
        def f(*args: Any, **params: Any) -> Any:
            return bind(row, args, params)
    APPLY[row.name] = f
    return publish(row.name, f, numpy, doc, row)


def gives_parts(impl: Callable[..., Any]) -> bool:
    """Whether ``impl`` makes real numbers of complex ones: its result has a dtype of its own."""
    try:
        return dtype_of(impl, np.dtype(complex)).kind != "c"
    except TypeError:  # not for complex numbers at all
        return False


def unary_part(row: Primitive) -> Function:
    """The function of an elementwise row whose result may have another dtype than its argument."""
    record = vars(unary_with(row))["record"]

    def apply(x: Any) -> Any:
        return record(x, NO_PARAMS)
    return apply


def binary_function(row: Primitive) -> Function:
    """The function of a row with two arguments: arrays straight, Tensors flat, the rest by bind."""
    method, swapped, impl = binary(row), binary(row, swapped=True), row.impl
    if row.vjp is not None:
        install_operators(row.name, method, swapped)
    is_ufunc = isinstance(impl, np.ufunc)

    def f(x: Any, z: Any) -> Any:
        if isinstance(x, Tracked):
            return method(x, z)
        if isinstance(z, Tracked):
            return swapped(z, x)
        if is_ufunc or isinstance(x, Box) or isinstance(z, Box):
            return bind(row, (x, z), NO_PARAMS)
        weak = x.__class__ is float or x.__class__ is int  # it adopts the dtype of z (NEP 50)
        if x.__class__ is not ndarray and not (weak and hasattr(z, "dtype")):
            x = np.asarray(x)[()]
        return evaluate(row, (x, z), NO_PARAMS)
    return f


def install_operator(name: str, method: Function) -> None:
    """Give Tracked the flat way for the operator of one operand that this row stands behind."""
    for operator, row_name in UNARY.items():
        if row_name == name:
            setattr(Tracked, f"__{operator}__", method)


def install_operators(name: str, method: Function, swapped: Function) -> None:
    """Give Tracked the flat way for the operator that this row stands behind."""
    for operator, row_name in BINARY.items():
        if row_name == name:
            setattr(Tracked, f"__{operator}__", method)
            setattr(Tracked, f"__r{operator}__", swapped)


def publish(name: str, f: Function, numpy: Sequence[Any], doc: str, row: Primitive | None = None
            ) -> Function:
    """Name ``f`` as users know it and enter it in the tables."""
    f.__name__ = f.__qualname__ = name
    f.__module__, f.__doc__ = sys._getframe(2).f_globals["__name__"], doc
    f.row = row
    PUBLIC[name] = f
    for function in numpy:
        NUMPY[function] = f
    return f


# ---- derived batch and lower rules

def batch_elementwise(name: str) -> Function:
    """Align ranks, so that NumPy's broadcasting pairs the batch axes."""
    def batch(size: int, axes: Any, *xs: Any, **params: Any) -> tuple[Any, int]:
        return PUBLIC[name](*batch_aligned(size, axes, xs), **params), 0
    return batch


def batch_aligned(size: int, axes: Any, xs: Any) -> list[Any]:
    """``xs`` with the batch axis first and axes of size 1 behind it, to equal ranks."""
    rank = max(len(shape_of(x)) - (axis is not None) for x, axis in zip(xs, axes, strict=True))
    out: list[Any] = []
    for x, axis in zip(xs, axes, strict=True):
        shape = shape_of(x)
        missing = rank - (len(shape) - 1)
        if axis is not None and missing:
            x = PUBLIC["reshape"](x, (size, *(1,) * missing, *shape[1:]))
        out.append(x)
    return out


def lower_elementwise(function: str, impl: Function) -> Function:
    """One scalar function over aligned operands, cast first to the dtype that NumPy computes in."""
    def lower(b: loops.Builder, *refs: Any) -> Any:
        dtypes = loop_dtypes(impl, *map(kind_of, refs))
        xs = [loops.cast(b, x, d) for x, d in zip(refs, dtypes, strict=True)]
        return b.elementwise(function, *loops.aligned(b, xs))
    return lower


@lru_cache(maxsize=4096)
def loop_dtypes(impl: Callable[..., Any], *kinds: Any) -> tuple[Any, ...]:
    """The dtypes that ``impl`` computes in, one for each argument, given arguments of these."""
    if isinstance(impl, np.ufunc):
        found = impl.resolve_dtypes((*kinds, *(None,) * impl.nout))[:impl.nin]
        if any(d.kind == "O" for d in found):  # Python's ints are compared as they are, however big
            return loop_dtypes(impl, *[np.dtype(k) for k in kinds])
        return found
    result = dtype_of(impl, *kinds)
    common = np.result_type(*[k(1) if isinstance(k, type) else k for k in kinds])
    return (result if result.kind in "fc" else common,) * len(kinds)


def check_axis(name: str, axis: Any, ndim: int) -> int:
    """``axis`` counted from 0, or an error."""
    if not isinstance(axis, (int, np.integer)) or isinstance(axis, bool):
        raise ArgumentError(f"{name}: axis must be an integer, not {axis!r}")
    if not -ndim <= axis < ndim:
        raise ShapeError(f"{name}: axis {axis} does not exist; the array has " + (
            f"{ndim} axes, 0 to {ndim - 1}" if ndim else "none (it is 0-d)"))
    return int(axis) % ndim
