"""The methods of every Box, so that a function reads the same on tensors, duals, batches and symbols.

NumPy's names and PyTorch's habits; each is the public function of a row. In-place forms rebind the object to a new
value, as NumPy's do for everyone who holds it: what a graph has kept of the old one is never overwritten.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any


from adjoint.core.box import Box
from adjoint.core.primitive import PUBLIC
from adjoint.errors import MutationError, ShapeError
from adjoint.ops import shape as shapes

if TYPE_CHECKING:
    from collections.abc import Callable

SAME_NAME = (
    "sum mean prod max min argmax argmin all any reshape transpose swapaxes ravel squeeze clip astype dot matmul "
    "exp exp2 expm1 log log2 log10 log1p sqrt square abs sign sin cos tan arcsin arccos arctan sinh cosh tanh arcsinh "
    "arccosh arctanh reciprocal floor ceil trunc isfinite isnan isinf relu sigmoid softmax log_softmax logsumexp "
    "flip where maximum minimum trace broadcast_to moveaxis expand_dims").split()
HABITS = {  # PyTorch's name -> ours
    "add": "add", "sub": "subtract", "mul": "multiply", "div": "divide", "pow": "power", "neg": "negative",
    "view": "reshape", "flatten": "ravel", "unsqueeze": "expand_dims", "permute": "transpose", "amax": "max",
    "amin": "min", "mm": "matmul", "asin": "arcsin", "acos": "arccos", "atan": "arctan", "asinh": "arcsinh",
    "acosh": "arccosh", "atanh": "arctanh", "round": "rint", "expand": "broadcast_to", "clamp": "clip"}
INPLACE = {"isub": "subtract", "iadd": "add", "imul": "multiply", "itruediv": "divide", "ipow": "power",
           "imatmul": "matmul", "ifloordiv": "floor_divide", "imod": "remainder"}


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


def rebind(x: Box, y: Any, what: str) -> Any:
    """Make ``x`` hold what ``y`` holds: the object stays, its value and its place in the graph are new."""
    if y.__class__ is not x.__class__:
        raise MutationError(f"{what} would turn a {type(x).__name__} into a {type(y).__name__}; write it without "
                            "changing in place: x = x + z, or x = ad.setitem(x, key, value)")
    for cls in type(x).__mro__:
        for slot in getattr(cls, "__slots__", ()):
            if not slot.startswith("_"):
                setattr(x, slot, getattr(y, slot))
    return x


def set_item(x: Box, key: Any, value: Any) -> None:
    """``x[key] = value``: x becomes a new version, in which the overwritten elements have gradient 0."""
    rebind(x, PUBLIC["setitem"](x, key, value), "x[...] = v")


def _inplace(name: str) -> Callable[[Box, Any], Any]:
    def change(x: Box, z: Any) -> Any:
        y = PUBLIC[name](x, z)
        if y.shape != x.shape:
            raise ShapeError(f"in-place {name}: the result has shape {y.shape} and x {x.shape}; x = x {name} z makes a "
                             "new one")
        return rebind(x, y, f"in-place {name}")
    return change


def install() -> None:
    """Put the methods on Box."""
    for name in SAME_NAME:
        setattr(Box, name, PUBLIC[name])
    for habit, name in HABITS.items():
        setattr(Box, habit, PUBLIC[name])
    for operator_name, name in INPLACE.items():
        setattr(Box, f"__{operator_name}__", _inplace(name))
    Box.__setitem__ = set_item
    Box.T, Box.mT, Box.size = property(transposed), property(matrix_transpose), property(size)
    Box.dim = lambda x: x.ndim
    Box.numel = lambda x: x.aval.size
    Box.__array_priority__ = 1000
    Box.__array_namespace__ = _namespace


def _namespace(x: Box, *, api_version: Any = None) -> Any:
    """The namespace of the array API standard: this package."""
    import sys
    return sys.modules["adjoint"]


install()
