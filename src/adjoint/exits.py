"""Where a value would leave the graph: what is refused, with what to write, and what passes.

A tracked value never leaves silently. An untracked Tensor is an array like any other, so a NumPy
function without a row runs on its values.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from adjoint.core.box import Box
from adjoint.core.forward import Dual
from adjoint.core.node import ndarray
from adjoint.core.primitive import NUMPY, PUBLIC
from adjoint.core.reverse import Tracked, tracked
from adjoint.core.symbol import Symbol
from adjoint.errors import (
    DTypeError,
    EscapeError,
    MutationError,
    ShapeError,
    UnsupportedError,
    escape,
)

from .instead import advice
from .ops.declare import is_tracked
from .ops.protocol import TEXTS, through_numpy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

LOST = "would cut it out of the graph, and its gradient would silently be lost"
PLAIN = "x.item() or x.detach().numpy() where the plain number is meant"
REMEDIES = {
    "float": ("float(x), math.sin(x), arr[i] = x or '%f' % x",
              "ad.sin(x) for math.sin(x), ad.setitem(arr, i, x) for arr[i] = x"),
    "int": ("int(x)", "ad.trunc(x), which stays a float"),
    "complex": ("complex(x)", "x.astype(complex)"),
    "index": ("a tracked value as an index or a size: using it", "x.item() for a Python integer"),
    "array": ("np.asarray(x), np.array([x, z]) or arr[...] = x",
              ("np.stack([x, z]) or ad.array([x, z]) to join tracked values, "
               "ad.setitem(arr, ..., x) to write one, mean + scale * rng.normal() to draw")),
    "ratio": ("a tracked value as a fraction, as in statistics.mean([x, z]):", "ad.mean(xs)"),
}
SPACES = ("linalg", "fft", "ma", "random", "polynomial")  # of NumPy, with names of their own


def refuse(kind: str) -> NoReturn:
    """Raise the error for one of the ways out that Python has."""
    what, remedy = REMEDIES[kind]
    raise EscapeError(f"{what} of a tracked value {LOST}. Write {remedy}; {PLAIN}.")


def refusal() -> EscapeError:
    """The error for a tracked value that becomes an array, naming the function that asked."""
    name = asking()
    if not name:
        what, remedy = REMEDIES["array"]
        return EscapeError(f"{what} of a tracked value {LOST}. Write {remedy}; {PLAIN}.")
    return EscapeError(f"{name} computes outside the graph: a tracked value in it {LOST}. "
                   f"{advice(name)}; {PLAIN}.")


def asking() -> str:
    """The public name of the NumPy or SciPy function that the user called, if one is running."""
    frame, found = sys._getframe(1), ""
    while frame is not None:
        root, *parts = frame.f_globals.get("__name__", "").split(".")
        if root in ("numpy", "scipy"):
            name = frame.f_code.co_name
            if name == "wrapper" and (wrapped := frame.f_locals.get("f")) is not None:
                root, *parts = wrapped.__module__.split(".")  # SciPy's decorator for batches
                name = wrapped.__name__
            space = space_of(root, parts)
            if hasattr(sys.modules.get(space.replace("np", "numpy", 1)), name):
                found = f"{space}.{name}"
        elif root != "adjoint":
            break
        frame = frame.f_back
    return found


def space_of(root: str, parts: list[str]) -> str:
    """The public module that a function of NumPy or SciPy is called in."""
    if root == "numpy":
        return f"np.{parts[0]}" if parts and parts[0] in SPACES else "np"
    return ".".join([root, *parts[:1]])


def name_of(key: Any) -> str:
    """A key of NUMPY as users write it: functions, ufuncs and their methods, names in SciPy."""
    if isinstance(key, tuple):
        return f"{name_of(key[0])}.{key[1]}"
    name: str = key if isinstance(key, str) else key.__name__
    if isinstance(key, (str, np.ufunc)):
        return f"np.{name}" if getattr(np, name, None) is key else f"scipy.special.{name}"
    return f"{key.__module__.replace('numpy', 'np')}.{name}"


def handed(x: Box, dtype: Any = None, copy: Any = None) -> Any:
    """``__array__`` of a tracked value: its values for what counts it as a constant, or an error.

    NumPy hands us no lists, and ``np.array_equal([x, z], a)`` turns an error into False.
    """
    space, _, name = asking().rpartition(".")
    if space == "np" and name in BY_NAME:
        return np.array(x.concrete(), dtype)
    x.concrete()  # its error comes first: there may be no value at all
    raise refusal()


TEXTS.update(name=name_of, advice=lambda key: advice(name_of(key)))


# ---- what passes

def bottom(x: Any) -> Any:
    """The array or Symbol at the bottom of a value."""
    while isinstance(x, Box) and not isinstance(x, Symbol):
        x = x.value
    return x


def is_concrete(x: Any) -> bool:
    """Whether ``x`` is an array under nothing but derivatives: then it has one value."""
    while isinstance(x, (Tracked, Dual)):
        x = x.value
    return not isinstance(x, Box)


def any_tracked(tree: Any) -> bool:
    """Whether arguments, in lists, tuples and dicts, hold a tracked value."""
    if isinstance(tree, (list, tuple)):
        return any(map(any_tracked, tree))
    return any(map(any_tracked, tree.values())) if isinstance(tree, dict) else is_tracked(tree)


def stripped(tree: Any) -> Any:
    """Arguments with read-only arrays in place of Boxes."""
    if isinstance(tree, Box):
        value = np.asarray(tree.concrete()).view()
        value.flags.writeable = False
        return value
    if isinstance(tree, (list, tuple)):
        return type(tree)(map(stripped, tree))
    return {k: stripped(v) for k, v in tree.items()} if isinstance(tree, dict) else tree


def on_values(function: Any) -> Callable[..., Any]:
    """``function`` on the values alone: its result is a constant, also of tracked values."""
    unread = function in UNREAD

    def call(*args: Any, **kwargs: Any) -> Any:
        if unread:
            args, kwargs = typical(args), typical(kwargs)
        elif function in BY_ROWS and not all(map(is_concrete, args)):
            return BY_ROWS[function](*args, **kwargs)
        return function(*stripped(args), **stripped(kwargs))
    return call


def typical(tree: Any) -> Any:
    """Arguments with zeros of their shapes and dtypes for values that do not exist yet."""
    if isinstance(tree, Box) and not is_concrete(tree):
        zero = tree.aval.dtype.type(0)
        return zero.item() if tree.aval.weak else np.broadcast_to(zero, tree.aval.shape)
    if isinstance(tree, (list, tuple)):
        return type(tree)(map(typical, tree))
    return {k: typical(v) for k, v in tree.items()} if isinstance(tree, dict) else tree


def close(x: Any, z: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Any:
    """`numpy.isclose` by rows: where z is finite ``|x - z| <= atol + rtol |z|``, else x = z."""
    near = abs(x - z) <= atol + rtol * abs(z)
    found = (near & PUBLIC["isfinite"](z)) | PUBLIC["equal"](x, z)
    return found | (PUBLIC["isnan"](x) & PUBLIC["isnan"](z)) if equal_nan else found


def all_equal(x: Any, z: Any, equal_nan: bool = False) -> Any:
    """`numpy.array_equal` by rows."""
    if np.shape(x) != np.shape(z):
        return False
    same = PUBLIC["equal"](x, z)
    return PUBLIC["all"](same | (PUBLIC["isnan"](x) & PUBLIC["isnan"](z)) if equal_nan else same)


BY_ROWS: dict[Any, Callable[..., Any]] = {
    np.isclose: close, np.array_equal: all_equal,
    np.allclose: lambda *args, **kwargs: PUBLIC["all"](close(*args, **kwargs))}
UNREAD = {np.zeros_like, np.ones_like, np.empty_like, np.result_type, np.common_type,
          np.iscomplexobj, np.isrealobj, np.diag_indices_from, np.tril_indices_from,
          np.triu_indices_from, np.einsum_path}


def on_arrays(function: Any, args: Any, kwargs: Any, cls: type[Tracked]) -> Any:
    """A function without a row on untracked Tensors: arrays in its result become Tensors again."""
    try:
        y = function(*stripped(args), **stripped(kwargs))
    except ValueError as e:
        if "read-only" not in str(e):
            raise
        raise MutationError(f"np.{function.__name__} writes into its argument, and the memory of a "
                            "Tensor is its own. Write x[...] = v") from e
    return boxed(y, cls, tuple(boxes_in((args, kwargs))))


def through(key: Any, function: Any, args: Any, kwargs: Any, cls: type[Tracked]) -> Any:
    """A NumPy function on Tensors: by its row; untracked values need none."""
    plain = not any_tracked((args, kwargs))
    if plain and key not in NUMPY:
        return on_arrays(function, args, kwargs, cls)
    try:
        y = through_numpy(key, args, dict(kwargs))
    except UnsupportedError:
        if plain:
            return on_arrays(function, args, kwargs, cls)
        raise
    return boxed(y, cls) if key in CONSTANTS else y


def boxes_in(tree: Any) -> Iterator[Box]:
    """The Boxes among arguments, in lists, tuples and dicts."""
    if isinstance(tree, Box):
        yield tree
    elif isinstance(tree, (list, tuple, dict)):
        for part in tree.values() if isinstance(tree, dict) else tree:
            yield from boxes_in(part)


def boxed(y: Any, cls: type[Tracked], sources: tuple[Box, ...] = ()) -> Any:
    """Arrays of numbers as untracked values of class ``cls``, also in tuples and lists.

    What would be a view of a source is a copy, and says so when it is written to.
    """
    if isinstance(y, (ndarray, np.number)) and y.dtype.kind in "fciub":
        view = isinstance(y, ndarray) and y.base is not None
        box = tracked(cls, np.array(y) if view else y, 0, None)
        for source in sources if view else ():
            if np.may_share_memory(y, source.value):
                box.copied_from(source)
        return box
    if isinstance(y, tuple):
        parts = [boxed(part, cls, sources) for part in y]
        return type(y)(*parts) if hasattr(y, "_fields") else tuple(parts)
    return [boxed(part, cls, sources) for part in y] if isinstance(y, list) else y


CONSTANTS: Sequence[Any] = (  # what reads no values, or gives truth values and integers
    np.allclose, np.isclose, np.array_equal, np.array_equiv, np.zeros_like, np.ones_like,
    np.empty_like, np.array_repr, np.array_str, np.array2string, np.result_type, np.common_type,
    np.min_scalar_type, np.iscomplexobj, np.isrealobj, np.isreal, np.iscomplex, np.isneginf,
    np.isposinf, np.shares_memory, np.may_share_memory, np.diag_indices_from,
    np.tril_indices_from, np.triu_indices_from, np.argsort, np.argpartition, np.lexsort,
    np.argwhere, np.nonzero, np.flatnonzero, np.count_nonzero, np.searchsorted, np.digitize,
    np.isin, np.nanargmax, np.nanargmin, np.linalg.matrix_rank, np.einsum_path)
ALIASES: dict[Any, str] = {  # other names of functions with a row; strings are names in SciPy
    np.linalg.matmul: "matmul", np.linalg.outer: "outer", np.linalg.tensordot: "tensordot",
    np.fix: "trunc", "cbrt": "cbrt", "exp2": "exp2", "expm1": "expm1", "log1p": "log1p",
    "log_expit": "log_sigmoid"}
for _key, _name in ALIASES.items():
    NUMPY.setdefault(_key, PUBLIC[_name])
BY_NAME = {function.__name__ for function in CONSTANTS} | {"shape", "ndim", "size"}
for _function in CONSTANTS:
    NUMPY.setdefault(_function, on_values(_function))
NUMPY[np.shape], NUMPY[np.ndim], NUMPY[np.size] = (
    lambda a: a.shape, lambda a: a.ndim, lambda a, axis=None: (
        a.aval.size if axis is None else a.shape[axis]))


def write_out(out: Any, y: Any, name: str) -> Any:
    """``out=``: a Tensor is rebound as by ``out[...] = y``; an ndarray holds no tracked value."""
    target: Any = out
    box = isinstance(out, Box)
    if not box and is_tracked(y):
        raise escape(f"{name}(..., out=array), which array += x calls too,",
                     f"y = {name}(...), or array = array + x, or out=t with a Tensor t")
    if box and target.shape != y.shape:
        raise ShapeError(f"{name}(out=t): the result has shape {y.shape}, t {target.shape}")
    if box and not np.can_cast(y.dtype, target.dtype, "same_kind"):
        raise DTypeError(f"{name}(out=t): a result of {y.dtype} does not fit into {target.dtype}; "
                         "make t of that dtype, or leave out= away")
    target[...] = y if box else bottom(y)
    return target


PUBLIC["write_out"] = write_out
