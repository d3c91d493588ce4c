"""The methods of every Box, so that a function reads the same on tensors, duals, batches, symbols.

NumPy's names and PyTorch's habits; each is the public function of a row. In-place forms rebind the
object to a new value, as NumPy's do for everyone who holds it: what a graph has kept of the old one
is never overwritten.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from adjoint.core.box import Box, live
from adjoint.core.forward import Dual
from adjoint.core.node import MODES, ndarray
from adjoint.core.primitive import PUBLIC
from adjoint.core.reverse import Tracked
from adjoint.core.symbol import Symbol, symbol
from adjoint.errors import ArgumentError, DTypeError, MutationError, ShapeError
from adjoint.ops import shape as shapes

from .exits import handed, is_concrete, is_tracked, refuse
from .hooks import follow, handle
from .scalars import ScalarSymbol, as_changeable, is_scalar, viewed
from .updates import At

if TYPE_CHECKING:
    from collections.abc import Callable

# Whether reference counts can be trusted to say who else can reach a buffer.
COUNTS = sys.implementation.name == "cpython" and getattr(sys, "_is_gil_enabled", lambda: True)()
SAME_NAME = (
    "sum mean prod max min argmax argmin all any reshape transpose swapaxes ravel squeeze clip "
    "astype dot matmul exp exp2 expm1 log log2 log10 log1p sqrt square abs sign sin cos tan arcsin "
    "arccos arctan sinh cosh tanh arcsinh arccosh arctanh reciprocal floor ceil trunc isfinite "
    "isnan isinf relu sigmoid softmax log_softmax logsumexp flip where maximum minimum trace "
    "broadcast_to moveaxis expand_dims round take diagonal diag diagflat tril triu roll "
    "tile fliplr flipud rot90 kron cross vdot outer inner gather scatter scatter_add index_add "
    "index_select masked_fill hypot logaddexp logaddexp2 xlogy sinc fmod fmax fmin copysign "
    "heaviside nan_to_num ldexp frexp erf erfc digamma logit i0 "
    "var std median quantile cumsum cumprod diff argsort ptp topk unique nonzero nansum "
    "nanmean nanmedian count_nonzero searchsorted bincount")
HABITS = {  # PyTorch's name -> ours
    "add": "add", "sub": "subtract", "mul": "multiply", "div": "divide", "pow": "power",
    "neg": "negative", "view": "reshape", "flatten": "ravel", "unsqueeze": "expand_dims",
    "permute": "transpose", "amax": "max", "amin": "min", "mm": "matmul", "asin": "arcsin",
    "acos": "arccos", "atan": "arctan", "asinh": "arcsinh", "acosh": "arccosh",
    "atanh": "arctanh", "expand": "broadcast_to", "clamp": "clip",
    "lgamma": "gammaln", "unbind": "unstack", "movedim": "moveaxis",
    "repeat_interleave": "repeat", "take_along_dim": "take_along_axis"}
INPLACE = {
    "isub": "subtract", "iadd": "add", "imul": "multiply", "itruediv": "divide", "ipow": "power",
    "imatmul": "matmul", "ifloordiv": "floor_divide", "imod": "remainder",
    "iand": "bitwise_and", "ior": "bitwise_or", "ixor": "bitwise_xor"}


class Count(int):
    """A number of elements that is also PyTorch's ``size()``: called, it gives the shape."""

    shape: tuple[int, ...]

    def __call__(self, axis: int | None = None) -> Any:
        """The shape, or the size along one axis."""
        return self.shape if axis is None else self.shape[axis]


def size(x: Box) -> Count:
    """Number of elements; ``x.size()`` is the shape, as in PyTorch."""
    count = Count(x.aval.size)
    count.shape = x.shape
    return count


def matrix_transpose(x: Box) -> Any:
    """The last two axes exchanged."""
    if x.ndim < 2:
        raise ShapeError(f"mT needs a matrix; the shape is {x.shape}")
    return shapes.swapaxes(x, -1, -2)


def transposed(x: Box) -> Any:
    """All axes in reverse order."""
    return shapes.transpose(x)


def number(x: Box) -> Any:
    """The one element as a Python number."""
    if x.aval.size != 1:
        raise ShapeError(f"item() and number formats need one element; the shape is {x.shape}. "
                         "Use x.tolist(), or print x")
    value: Any = x
    while isinstance(value, (Tracked, Dual)):
        value = value.value
    return value.number() if isinstance(value, ScalarSymbol) else np.asarray(x.concrete()).item()


def shown(x: Box, spec: str) -> str:
    """``format(x, spec)``."""
    return format(x.concrete() if isinstance(y := number(x), Box) else y, spec) if spec else repr(x)


def named(x: Box) -> str:
    """How a Box that is no Tensor prints."""
    ended = ", of a call that has ended" if x.level > 0 and x.level not in live else ""
    known = x.aval if ended or not is_concrete(x) else np.array2string(x.concrete())
    return f"{type(x).__name__.lower()}({known}{ended})"


def flags(x: Box) -> Any:
    """How the values lie in memory, read-only (``np.isfortran(x)``)."""
    view = np.asarray(x.concrete()).view()
    view.flags.writeable = False
    return view.flags


def part(name: str) -> property:
    """``x.real`` and ``x.imag``, which are views in NumPy: a write into one is refused."""
    return property(PUBLIC[name], doc=PUBLIC[name].__doc__)


def refused(x: Box) -> Any:
    """``x.numpy()`` of a Box that is no Tensor."""
    x.concrete()  # its error comes first: there may be no value at all
    return refuse("array")


# ---- what a tracing of `ad.jit` is told

def born(t: Any) -> None:
    """Tell a tracing that it made this tensor: what is in it is a constant of the program."""
    note = getattr(MODES.get().trace, "bear", None)
    if note is not None and not isinstance(t.value, Box):
        note(t)


def about_to_write(t: Any) -> None:
    """Tell a tracing that this tensor, which it may not have met, is going to be changed."""
    adopt = getattr(MODES.get().trace, "adopt_first", None)
    if adopt is not None:
        adopt(t)


# ---- changes in place

def rebind(x: Any, y: Any, what: str) -> None:
    """Make ``x`` hold what ``y`` holds: the object stays, value and place in the graph are new."""
    y = as_changeable(x, y)
    if x.level < MODES.get().paused and not isinstance(x, Symbol):
        move(x, y, what)
        return
    if y.__class__ is not x.__class__ and isinstance(x, Dual):  # a constant: its tangent is 0
        y = as_changeable(x, PUBLIC["setitem"](x, ..., y))
    if y.__class__ is not x.__class__:
        raise MutationError(
            f"{what} in place would turn a {type(x).__name__} into a {type(y).__name__}; write it "
            "without changing in place: x = x + z, or x = ad.setitem(x, key, value)")
    before = getattr(x, "node", None)
    for cls in type(x).__mro__:
        for slot in getattr(cls, "__slots__", ()):
            if not slot.startswith("_"):
                setattr(x, slot, getattr(y, slot))
    forget: Any = getattr(x, "forget_base", None)
    if forget is not None:
        forget()
        follow(x, before)


def move(x: Any, y: Any, what: str) -> None:
    """Under no_grad() a write moves the value alone: derivatives stay, those of every level."""
    while isinstance(y, Tracked) and y.level > x.level:  # a constant of a transformation inside
        y = y.value
    mine = isinstance(y, Box) and y.level == x.level
    if (isinstance(y, Box) and y.level > x.level) or not (
            mine or isinstance(x, (Tracked, Dual))):  # one value for a whole batch
        raise MutationError(f"{what} in place would turn a {type(x).__name__} into a "
                            f"{type(y).__name__}; write it without changing in place")
    y = y.value if mine else y
    if isinstance(x.value, Box) and not isinstance(x.value, Symbol):
        inner = handle(x.value)
        move(inner, y, what)
        y = inner
    if isinstance(x, Tracked):
        getattr(x, "replace")(y)  # noqa: B009 - of Tensor, which stands above
    else:
        x.value = y


def fitted(x: Box, y: Any, what: str) -> Any:
    """``y`` in the dtype of ``x``, which it overwrites; NumPy's rules say what fits."""
    if y.shape != x.shape:
        raise ShapeError(f"{what} in place: the result has shape {y.shape}, the tensor {x.shape}; "
                         f"write x = ad.{what}(x, z) for a new one")
    if y.dtype == x.dtype:
        return y
    if not np.can_cast(y.dtype, x.dtype, "same_kind"):
        raise DTypeError(f"{what} in place: a result of {y.dtype} does not fit into {x.dtype}; "
                         f"write x = ad.{what}(x, z) for a new one, or x = x.astype({y.dtype})")
    return PUBLIC["astype"](y, x.dtype) if isinstance(y, Box) else y.astype(x.dtype)


def fits_into(x: Any, z: Any) -> bool:
    """Whether ``x op z`` has the shape and dtype of x, so that it can be written over x."""
    if z.__class__ is ndarray and z.shape == x.shape and z.dtype == x.dtype:
        return x.dtype.kind in "fc"  # an optimiser's step, without NumPy's general promotion
    shape = np.shape(z)
    known = np.result_type(x.value, z)
    return known == x.dtype and x.dtype.kind in "fc" and (
        shape == () or (len(shape) <= x.ndim and np.broadcast_shapes(shape, x.shape) == x.shape))


def wrote(x: Any, key: Any, value: Any) -> bool:
    """Write into ``x``; False where NumPy refuses: the general way then says what is wrong."""
    try:
        x[key] = value
    except (IndexError, ValueError):
        return False
    return True


def is_plain(key: Any) -> bool:
    """Whether NumPy and we read a key alike without looking closer: integers, slices, arrays."""
    if isinstance(key, tuple):
        return all(map(is_plain, key))
    return key is None or key is Ellipsis or key.__class__ in (int, slice, ndarray)


def set_item(x: Box, key: Any, value: Any) -> None:
    """``x[key] = value``: a new version of x, in which what was overwritten has gradient 0."""
    writable(x, "x[...] = v")
    if is_scalar(x):
        raise MutationError("x[...] = v: x is a number here, which cannot be assigned to (NumPy "
                            "raises TypeError); write x = v")
    y = PUBLIC["setitem"](x, key, value)
    if y.dtype != x.dtype:  # NumPy writes the integer part, which has no derivative
        if is_tracked(value):
            raise DTypeError(f"x[...] = v: {x.dtype} holds no derivative, and v is {value.dtype}. "
                             "Make x of floats first: x = x.astype(float)")
        y = PUBLIC["astype"](y, x.dtype)
    rebind(x, y, "x[...] = v")


def writable(x: Any, what: str) -> None:
    """An error if a write to ``x`` would, in NumPy, reach another value that shares its memory."""
    inner: Any = x
    while isinstance(inner, Box):
        guard: Any = getattr(inner, "writable", None)
        if guard is not None:
            guard(what)
            return
        if isinstance(inner, Symbol):
            check_traced(inner, what)
            return
        inner = inner.value
    x = inner
    if x.__class__ is ndarray:
        base = x.base if x.base is not None and shared(x) else viewed(x)
        if base is not None:
            raise aliased(what, f"an array of shape {base.shape}")


def check_traced(x: Symbol, what: str) -> None:
    """The same under a trace, where nobody knows who holds the base: a view is never written."""
    row, inputs = x.node.prim, x.node.inputs
    viewed = row.alias or x.node in getattr(x.graph, "views", ())
    if viewed and len(inputs) == 1 and not isinstance(inputs[0].aval, tuple):
        raise aliased(what, f"a traced array of shape {inputs[0].aval.shape}")


def shared(x: Any) -> bool:
    """Whether someone beside the view ``x`` holds its array; where nobody counts, yes."""
    return not COUNTS or sys.getrefcount(x.base) > ALONE


def _count_alone() -> int:
    """What getrefcount says of an array that only its view holds, on this interpreter."""
    x = np.zeros(2)[:1]
    return sys.getrefcount(x.base)


ALONE = _count_alone()


def aliased(what: str, base: str) -> MutationError:
    """The error for a write into a view."""
    return MutationError(
        f"{what}: this is a selection or another view of {base}; NumPy would write into that one "
        "too, and here slices are values. Write into the whole one (x[0] = v), or take a copy with "
        ".clone() first.")


def changed(x: Box, z: Any, name: str) -> Box:
    """``x``, which holds what the operation ``name`` makes of it and ``z``."""
    rebind(x, fitted(x, PUBLIC[name](x, z), name), name)
    return x


def _inplace(name: str) -> Callable[[Box, Any], Any]:
    def change(x: Box, z: Any) -> Any:
        return PUBLIC[name](x, z) if is_scalar(x) else changed(x, z, name)
    return change


def copy(x: Any) -> Any:
    """A copy that stays in the graph; `clone` is PyTorch's name for it."""
    return as_changeable(x, +x)


def conjugated(x: Any) -> Any:
    """The complex conjugate; of real numbers the array itself, as in NumPy and PyTorch."""
    return PUBLIC["conjugate"](x) if x.dtype.kind == "c" else x


def sort(x: Any, axis: int = -1, kind: Any = None, order: Any = None, *, stable: Any = None
         ) -> None:
    """Sort in place, as NumPy's method does: the result is None. A new array: ``ad.sort(x)``."""
    if order is not None:
        raise ArgumentError("x.sort(order=...) is for arrays with fields; there are none here")
    x[...] = PUBLIC["sort"](x, axis=axis, kind=kind, stable=True if stable is None else stable)


def fill(x: Any, value: Any) -> None:
    """Set every element to ``value``, in place."""
    x[...] = value


def symbol_of(x: Any, dtype: Any) -> Any:
    """A Symbol with what an array or an untracked tensor will be; None for what has a value."""
    x = x.value if isinstance(x, Tracked) and x.node is None else x
    if not isinstance(x, Symbol):
        return None
    y = PUBLIC["astype"](x, np.dtype(dtype or x.dtype))
    return symbol(y.graph, y.node, type(y))


def _refuses(kind: str) -> Callable[[Box], Any]:
    return lambda x: refuse(kind)


def install() -> None:
    """Put the methods on Box."""
    for name in SAME_NAME.split():
        setattr(Box, name, PUBLIC[name])
    for habit, name in HABITS.items():
        setattr(Box, habit, PUBLIC[name])
    for operator_name, name in INPLACE.items():
        setattr(Box, f"__{operator_name}__", _inplace(name))
    for kind in ("float", "int", "complex", "index"):
        setattr(Box, f"__{kind}__", _refuses(kind))
    more: dict[str, Any] = {
        "__setitem__": set_item, "T": property(transposed), "at": property(At),
        "choose": PUBLIC["choose"], "compress": lambda x, condition, axis=None: PUBLIC["compress"](
            condition, x, axis),
        "__divmod__": PUBLIC["divmod"], "__rdivmod__": lambda x, z: PUBLIC["divmod"](z, x),
        "__round__": lambda x, digits=None: PUBLIC["round"](x, digits or 0),
        "real": part("real"), "imag": part("imag"),
        "mT": property(matrix_transpose), "size": property(size), "dim": lambda x: x.ndim,
        "numel": lambda x: x.aval.size, "__array_priority__": 1000,
        "__array_namespace__": _namespace, "item": number, "__format__": shown,
        "__repr__": named, "numpy": refused, "clone": copy, "copy": copy,
        "astype": lambda x, dtype, copy=True: as_changeable(x, PUBLIC["astype"](x, dtype, copy)),
        "conjugate": conjugated, "conj": conjugated, "sort": sort, "fill": fill,
        "__array__": handed, "__trunc__": _refuses("int"), "flags": property(flags),
        "itemsize": property(lambda x: x.dtype.itemsize),
        "nbytes": property(lambda x: x.aval.size * x.dtype.itemsize),
        "strides": property(lambda x: np.asarray(x.concrete()).strides),
        "as_integer_ratio": _refuses("ratio"),
        "tolist": lambda x: np.asarray(x.concrete()).tolist()}
    for name, method in more.items():
        setattr(Box, name, method)


def _namespace(x: Box, *, api_version: Any = None) -> Any:
    """The namespace of the array API standard: this package."""
    return sys.modules["adjoint"]


install()
