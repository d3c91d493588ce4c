"""What goes into a transformation and comes out: pytrees, and the kind of each leaf.

A transformation gives back the kind it got: ndarray for ndarray, Python float for float, Tensor for
Tensor.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import optree

from adjoint.core.box import Box, Level, live
from adjoint.core.node import aval_of, private
from adjoint.core.symbol import Symbol
from adjoint.errors import ArgumentError, DTypeError, ShapeError
from adjoint.hooks import copied, handle
from adjoint.scalars import TENSORS, ScalarSymbol, of_tensors
from adjoint.tensors import Tensor, is_tracked, untracked

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Tree = Any
NAMESPACE = "adjoint"
NUMBERS = (bool, int, float, complex)


def flatten(tree: Tree) -> tuple[list[Any], Any]:
    """The leaves of a pytree (None is a tree without leaves), and its structure."""
    return optree.tree_flatten(tree, namespace=NAMESPACE)


def unflatten(structure: Any, leaves: Sequence[Any]) -> Tree:
    """The pytree of this structure with these leaves."""
    return optree.tree_unflatten(structure, leaves)


def lift(x: Any) -> Any:
    """The value that a transformation computes with: a private array, a NumPy scalar, or a Box."""
    if isinstance(x, Tensor) and not is_tracked(x):
        return private(x.concrete())
    if isinstance(x, Box):
        return x
    if isinstance(x, (bool, int, float, complex, np.generic)):
        return np.asarray(x)[()]
    if isinstance(x, np.ndarray):
        return private(x)  # without axes too: NumPy lets it be changed in place, and no scalar
    raise ArgumentError("the arguments of a transformation are numbers, arrays, tensors and "
                        f"containers of them, not {type(x).__name__}; bind other arguments with "
                        "functools.partial or a lambda")


class Over(Level):
    """The level of a function of these arguments: one of tensors can change what it makes of them.

    PyTorch changes a tensor without axes in place, NumPy does not change a scalar.
    """

    def __init__(self, given: Sequence[Any]) -> None:
        self.tensors = any(isinstance(x, Box) and of_tensors(x) for x in given)

    def __enter__(self) -> int:
        level = super().__enter__()
        if self.tensors:  # no function is called here, which Ctrl-C could interrupt
            TENSORS.add(level)
        return level

    def __exit__(self, *_: object) -> None:
        TENSORS.discard(self.number)
        live.discard(self.number)


def differentiable(x: Any, where: str, example: str) -> Any:
    """The lifted ``x``; an error if its dtype has no derivative."""
    value = lift(x)
    if aval_of(value).dtype.kind not in "fc":
        shown = repr(x) if np.ndim(x) == 0 else f"an array of {aval_of(value).dtype}"
        cast = f"{float(x)}" if isinstance(x, (int, bool)) else "x.astype(float)"
        raise DTypeError(
            f"{where}: {shown} is {aval_of(value).dtype}, which has no derivative. Write "
            f"{example.format(cast)}; arguments not differentiated may be integers (argnums, or a "
            "lambda around f).")
    return value


def result(y: Any, where: str) -> Any:
    """A leaf of what the function returned, if it is a number or an array of them."""
    if isinstance(y, (Box, int, float, complex, np.ndarray, np.generic)) and (
            aval_of(y).dtype.kind in "fciub"):
        return y
    raise ArgumentError(f"{where}: the function returned {type(y).__name__} ({y!r}), which has no "
                        "derivative; results are numbers, arrays, tensors and containers of them "
                        "(return other things with has_aux=True)")


def trees_of(structures: Sequence[Any], leaves: Sequence[Any]) -> list[Tree]:
    """The leaves of several trees, dealt out to them in order."""
    rest = iter(leaves)
    return [unflatten(s, [next(rest) for _ in range(s.num_leaves)]) for s in structures]


def check_function(f: Any, where: str) -> None:
    """An error for what cannot be called, before anything is built on it."""
    if not callable(f):
        habit = (". For PyTorch's torch.autograd.grad(y, x) write y.backward() and read x.grad"
                 if isinstance(f, Box) else "")
        raise ArgumentError(f"{where}: f must be a function, not {f!r}{habit}")


def distinct(parts: Sequence[Any]) -> list[Any]:
    """Results of which no two share memory, or are one object, and none that of something else."""
    seen: set[int] = set()
    out: list[Any] = []
    for dx in parts:
        if isinstance(dx, np.ndarray) and (dx.base is not None or id(dx) in seen):
            dx = dx.copy()
        elif isinstance(dx, Box):
            dx = handle(dx)
        seen.add(id(dx))
        out.append(dx)
    return out


def single(y: Any) -> Any:
    """A result on memory of its own, which the function may have closed over or given twice."""
    return copied(y) if isinstance(y, Box) else private(y)


def kind_like(x: Any) -> Callable[[Any], Any]:
    """The function that gives a value the kind of ``x``; what is still tracked stays a Box."""
    if is_tensor(x):
        return lambda y: y if isinstance(y, Box) and not isinstance(y, Symbol) else untracked(y)
    if is_number(x):
        return number
    if isinstance(x, np.ndarray):
        return lambda y: y if isinstance(y := plain(y), Box) else np.asarray(y)
    return plain if isinstance(x, Box) and x.aval.shape else scalar


def is_tensor(x: Any) -> bool:
    """Whether it is the user's tensor, or stands for one: arrays are Tensors while recorded."""
    return isinstance(x, Tensor) and (x.level == 0 or of_tensors(x))


def is_number(x: Any) -> bool:
    """Whether Python has a number here, or will have one when what is traced runs."""
    return type(x) in NUMBERS or getattr(x, "stands_for_number", False)


def number(y: Any) -> Any:
    """A Python number, where it has no axes; of a Symbol, one that stands for a number."""
    y = plain(y)
    if isinstance(y, Box):
        return y.noted_as_number() if isinstance(y, ScalarSymbol) and not y.aval.shape else y
    return y if np.ndim(y) else np.asarray(y).item()


def plain(y: Any) -> Any:
    """The array of an untracked Tensor (a constant that the function closed over made it one).

    While a function is traced that array is a Symbol.
    """
    if not isinstance(y, Tensor) or y.node is not None:
        return y
    return y.value if isinstance(y.value, Symbol) else y if is_tracked(y) else y.concrete()


def scalar(y: Any) -> Any:
    """The same with a scalar for an array without axes (`np.where` gives one)."""
    return y[()] if isinstance(y := plain(y), np.ndarray) else y


def kind_of_all(leaves: Sequence[Any]) -> Callable[[Any], Any]:
    """The kind of a result: Tensor if an argument is one, float if all are, else NumPy's."""
    for x in leaves:
        if is_tensor(x):
            return kind_like(x)
    if leaves and all(map(is_number, leaves)):
        return kind_like(0.0)
    return plain


def zeros(x: Any) -> Any:
    """The gradient of what nothing depends on."""
    known = aval_of(x)
    return np.zeros(known.shape, known.dtype)[()]


def check_match(what: str, got: Any, expected: Any) -> None:
    """An error unless two trees have the same structure and shapes."""
    (a, s), (b, t) = flatten(got), flatten(expected)
    if s != t:
        a, b = (str(spec).removeprefix("PyTreeSpec(").removesuffix(")") for spec in (s, t))
        raise ArgumentError(f"{what} must have the structure {b}, not {a} (* is an array or a "
                            "number)")
    for x, y in zip(a, b, strict=True):
        if aval_of(x).shape != aval_of(y).shape:
            raise ShapeError(f"{what}: shape {aval_of(x).shape} where {aval_of(y).shape} is "
                             "expected")


def selected(argnums: int | Sequence[int], count: int) -> tuple[int, ...]:
    """The positions of the arguments that are differentiated."""
    numbers: tuple[Any, ...] = (
        tuple(argnums) if isinstance(argnums, (tuple, list)) else (argnums,))
    for n in numbers:
        if not isinstance(n, (int, np.integer)) or isinstance(n, bool):
            raise ArgumentError(f"argnums={argnums!r}: it is the position of an argument, an int, "
                                "or a tuple of them, as argnums=(0, 1)")
        if not -count <= n < count:
            raise ArgumentError(f"argnums={argnums}: the function was called with {count} "
                                "positional arguments")
    found = tuple(int(n) % count for n in numbers)
    if len(set(found)) != len(found):
        raise ArgumentError(f"argnums={argnums} names an argument twice")
    return found
