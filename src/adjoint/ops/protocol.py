"""How Python and NumPy reach the rows: operators, and the protocols behind ``np.sin(x)``.

Every Box gets them here, from the two tables that the builders fill: PUBLIC (by name) and NUMPY (by
NumPy function).
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from adjoint.core.box import Box
from adjoint.core.node import MODES, ndarray, switch
from adjoint.core.primitive import NUMPY, PUBLIC
from adjoint.errors import AdjointError, ArgumentError, UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

TEXTS: dict[str, Any] = {}  # exits enters how a function is named, and what to write instead


def apply_ufunc(self: Box, ufunc: Any, method: str, *args: Any, **kwargs: Any) -> Any:
    """``np.sin(x)``, ``np.add.reduce(x)``: what NumPy's ufuncs do with a Box."""
    key = ufunc if method == "__call__" else (ufunc, method)
    if key is ufunc and key not in NUMPY and ufunc.__name__ in NUMPY:  # SciPy's, by name
        key = ufunc.__name__
    if args[0].__class__ is ndarray:
        check_caller()
    if key in NUMPY and not kwargs:
        return NUMPY[key](*args)
    return through_numpy(key, args, kwargs)


def check_caller() -> None:
    """Raise UnsupportedError where NumPy's own Python code takes a tracked array for a number.

    Its polynomials give the coefficients (or roots) new axes, one for each of ``x``, only if
    ``isinstance(x, np.ndarray)``; without them they would be broadcast against ``x``. Who asks has
    an ndarray as the first operand, or a function as `np.prod`: no other call need be looked at.
    """
    caller = sys._getframe(2)
    if caller.f_globals.get("__package__") != "numpy.polynomial":
        return
    given = caller.f_locals
    x, letter = given.get("x"), "r" if "r" in given else "c"
    if isinstance(x, Box) and x.ndim and given.get("tensor") and given[letter].ndim > (
            letter == "c"):
        name = caller.f_code.co_name
        raise UnsupportedError(
            f"np.polynomial's {name}(x, {letter}) takes a tracked array x for a number, and would "
            f"broadcast {letter} of shape {given[letter].shape} against it. Write {name}(x, "
            f"{letter}.reshape({letter}.shape + (1,) * x.ndim), tensor=False)")


def apply_function(self: Box, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
    """``np.sum(x)``: what NumPy's other functions do with a Box."""
    check_caller()
    return through_numpy(function, args, kwargs)


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


def length(self: Box) -> int:
    """``len(x)``."""
    if not self.aval.shape:
        raise ArgumentError("a 0-d value has no len(); x.shape is ()")
    return self.aval.shape[0]


def rows(self: Box) -> Iterator[Any]:
    """``for row in x``."""
    return (PUBLIC["getitem"](self, i) for i in range(length(self)))


def truth(self: Box) -> bool:
    """``if x``: of one element, and not of a Symbol, which has no value yet."""
    if switch.armed and (watch := MODES.get().watch) is not None:
        watch.truth(self)
    value = self.concrete()
    if self.aval.size != 1:
        raise ArgumentError(
            f"the truth of an array of shape {self.shape} is ambiguous; use .any() or .all()")
    return bool(value)


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
for _name, _method in (
        ("array_ufunc", apply_ufunc), ("array_function", apply_function), ("len", length),
        ("iter", rows), ("bool", truth)):
    setattr(Box, f"__{_name}__", _method)
