"""How an operation is applied: bind, Box, levels.

With no Box among the arguments a row just runs; otherwise the Box of the highest level interprets
it, one level down. Symbols sit below everything (-1), Tensors at 0, transformations above, numbered
by time.
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any

from adjoint.errors import AdjointError, ArgumentError, EscapeError, LevelError, UnsupportedError

from .node import MODES, aval_of, ndarray, switch
from .primitive import NUMPY, PUBLIC, Primitive

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

new_level = count(1).__next__
live: set[int] = set()  # the levels of transformations that have not ended


class Level:
    """A transformation's level, alive inside the block: ``with Level() as level``."""

    def __enter__(self) -> int:
        self.number = new_level()
        live.add(self.number)
        return self.number

    def __exit__(self, *_: object) -> None:
        live.discard(self.number)


def bind(row: Primitive, args: Sequence[Any], params: dict[str, Any]) -> Any:
    """Apply ``row``: the outermost Box interprets it, and with no Box it just runs."""
    if switch.armed:
        modes = MODES.get()
        if modes.watch is not None:
            return modes.watch(row, args, params)
        if modes.trace is not None:
            args = modes.trace.barrier(args)
    top, level = None, -2
    for a in args:
        if isinstance(a, Box):
            if a.level > level:
                top, level = a, a.level
        elif a.__class__ is not ndarray and getattr(a, "__array_priority__", 0) > 0:
            raise UnsupportedError(f"{row}: {type(a).__name__} has a product or masks of its own, "
                                   "which no row knows; write np.asarray(a)")
    if top is None:
        return evaluate(row, args, params)
    if level > 0 and level not in live:
        raise escaped(top)
    return top.interpret(row, args, params)


def evaluate(row: Primitive, args: Sequence[Any], params: dict[str, Any]) -> Any:
    """The value, on arrays; where NumPy refuses the shapes, the Aval rule says why."""
    try:
        return row.impl(*args, **params)
    except ValueError:
        check_shapes(row, args, params)
        raise


def check_shapes(row: Primitive, args: Sequence[Any], params: dict[str, Any]) -> None:
    """Raise the ShapeError of the row's Aval rule, if the shapes are at fault."""
    if row.aval is not None:
        row.aval(*map(aval_of, args), **params)


class Box:
    """A value in the custody of an interpreter."""

    __slots__ = ("aval", "level", "value")
    value: Any
    aval: Any
    level: int
    __hash__ = object.__hash__

    def interpret(self, row: Primitive, args: Sequence[Any], params: dict[str, Any]) -> Any:
        """Apply ``row`` to ``args``, of which this Box has the highest level."""
        raise NotImplementedError

    def concrete(self) -> Any:
        """The array at the bottom; an error where it does not exist yet."""
        if self.level > 0 and self.level not in live:
            raise escaped(self)
        return self.value.concrete() if isinstance(self.value, Box) else self.value

    @property
    def shape(self) -> tuple[int, ...]:
        """Size along each axis."""
        return self.aval.shape

    @property
    def dtype(self) -> Any:
        """The NumPy dtype."""
        return self.aval.dtype

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.aval.shape)

    def __len__(self) -> int:
        if not self.aval.shape:
            raise ArgumentError("a 0-d value has no len(); x.shape is ()")
        return self.aval.shape[0]

    def __iter__(self) -> Iterator[Any]:
        return (PUBLIC["getitem"](self, i) for i in range(len(self)))

    def __array_ufunc__(self, ufunc: Any, method: str, *args: Any, **kwargs: Any) -> Any:
        key = ufunc if method == "__call__" else (ufunc, method)
        if key not in NUMPY and ufunc.__name__ in NUMPY:  # scipy.special, known by name
            key = ufunc.__name__
        if key in NUMPY and not kwargs:
            return NUMPY[key](*args)
        return through_numpy(key, args, kwargs)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        return through_numpy(function, args, kwargs)

    def __bool__(self) -> bool:
        if switch.armed and (watch := MODES.get().watch) is not None:
            watch.truth(self)
        value = self.concrete()
        if self.aval.size != 1:
            raise ArgumentError(
                f"the truth of an array of shape {self.shape} is ambiguous; use .any() or .all()")
        return bool(value)


def escape(what: str, remedy: str) -> EscapeError:
    """The error for a value that would leave the graph."""
    return EscapeError(
        f"{what} of a tracked value would cut it out of the graph, and its gradient would silently "
        f"be lost. Write {remedy}; x.detach().numpy() or x.item() where the plain number is meant.")


def escaped(box: Box) -> LevelError:
    """The error for a value used after its transformation ended."""
    return LevelError(
        f"a value of shape {box.shape} was made inside a function under grad, vjp, jvp, vmap or "
        "hessian, and is used after that call has ended. Return it from the function, beside the "
        "result (has_aux=True).")


TEXTS: dict[str, Any] = {}  # exits enters how a function is named, and what to write instead


def through_numpy(key: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """A call that NumPy handed to us, with ``out=`` taken apart."""
    if key not in NUMPY:
        raise UnsupportedError(
            f"{TEXTS['name'](key)} has no row here, so it cannot be differentiated. "
            f"{TEXTS['advice'](key)}; x.detach().numpy() takes a value out of the graph.")
    out = kwargs.pop("out", None)
    if kwargs and hasattr(key, "nin"):  # nothing of a ufunc's mask or dtype is in its row
        raise without(key, f"the option {next(iter(kwargs))!r} is")
    try:
        y = NUMPY[key](*args, **kwargs)
    except TypeError as e:
        option = "unexpected keyword" in str(e)
        if isinstance(e, AdjointError) or not (option or "positional argument" in str(e)):
            raise
        raise without(key, f"the option {str(e).rpartition(' ')[2]} is" if option else
                      "these arguments are") from e
    if out is None:
        return y
    (out,) = out if isinstance(out, tuple) else (out,)
    return PUBLIC["write_out"](out, y, TEXTS["name"](key))


def without(key: Any, what: str) -> UnsupportedError:
    """The error for an argument that NumPy's function has and ours has not."""
    return UnsupportedError(
        f"{TEXTS['name'](key)}: {what} not there for tracked values; write it out (np.where for a "
        "mask, x.astype for a dtype), or leave it out.")


UNARY = {"neg": "negative", "pos": "positive", "abs": "abs", "invert": "invert"}
BINARY = {
    "add": "add", "sub": "subtract", "mul": "multiply", "truediv": "divide", "pow": "power",
    "matmul": "matmul", "floordiv": "floor_divide", "mod": "remainder", "and": "bitwise_and",
    "or": "bitwise_or", "xor": "bitwise_xor"}
COMPARE = {"lt": "less", "le": "less_equal", "gt": "greater", "ge": "greater_equal",
           "eq": "equal", "ne": "not_equal"}


def _install(operator: str, name: str, swapped: bool = False) -> None:
    def apply(x: Any, *z: Any) -> Any:
        return PUBLIC[name](*z, x) if swapped else PUBLIC[name](x, *z)
    setattr(Box, f"__{'r' if swapped else ''}{operator}__", apply)


for _operator, _name in (UNARY | BINARY | COMPARE).items():
    _install(_operator, _name)
for _operator, _name in BINARY.items():
    _install(_operator, _name, swapped=True)
_install("getitem", "getitem")
