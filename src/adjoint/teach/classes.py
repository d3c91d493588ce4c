"""ForwardValue and AutogradValue: an operation is a subclass that says ``func`` and ``grads``.

Such a subclass becomes a row (a `Primitive`) once, when it is defined: ``func`` is its impl, and
the partial derivatives that ``grads`` returns give its jvp and its vjp. A ForwardValue is then
computed by `Dual`, an AutogradValue is a `Node` of the engine's graph, and backward() is the
engine's sweep.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from adjoint.core.box import Box, bind, live, new_level
from adjoint.core.forward import Dual, dual
from adjoint.core.node import (
    MIXED,
    MODES,
    WEAK,
    Mode,
    Node,
    aval,
    aval_of,
    clock,
    constant,
    ndarray,
    node,
    private,
    switch,
)
from adjoint.core.primitive import CONSTANT, LEAF, REGISTRY, Label, Primitive
from adjoint.core.reverse import seen_as, steps, walk
from adjoint.errors import ArgumentError, DTypeError, GraphError, RuleError, ShapeError
from adjoint.modes import sweep

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SCALAR = WEAK[float]  # what is known of every number, so that numbers need no fitting
SEEN = seen_as(None)  # rules see values
LEVEL = new_level()  # the level of ForwardValues: they live as long as the user holds them
live.add(LEVEL)


def row_of(cls: type[Any]) -> Primitive:
    """The row of a subclass: its rules ask ``made``, the value that the step made."""
    name = cls.__name__.strip("_")

    def impl(*xs: Any, made: Any) -> Any:
        return made.func(*xs)

    def jvp(dxs: Sequence[Any], y: Any, *xs: Any, made: Any) -> Any:
        made.value = y  # grads() may read it
        with np.errstate(all="ignore"):  # an infinite partial is meant
            partials = local(made, xs)
            moved = [dx.times(p) for dx, p in zip(dxs, partials, strict=True) if dx is not None]
        dy = moved[0]
        for term in moved[1:]:
            dy = dy.plus(term)
        dy.aval = aval_of(y)
        return dy

    def vjp(dy: Any, y: Any, *xs_needs: Any, made: Any) -> tuple[Any, ...]:
        made.grad = made.grad + plain(dy)
        return parts_of(made, plain(own(dy)), xs_needs[-1])
    return Primitive(name, impl, jvp=jvp, vjp=vjp, keeps=frozenset({"x", "y"}),
                     elementwise=getattr(cls, "vjp", None) is AutogradValue.vjp,
                     label=Label(f"{name}({{0}}, ...)"))


def swept(seeds: Mapping[Node, Any]) -> dict[Any, Any]:
    """One walk of the engine's sweep, for rules that leave something behind: each is called once.

    There is no second, careful walk where a NaN came out. `product` is what it would change.
    """
    if switch.armed and MODES.get().watch is not None:  # a doctor looks on
        with Mode(lambda modes: modes._replace(strict=True)):
            return sweep(seeds, retain=True)
    return walk(steps(seeds), seeds, SEEN, True, None) or {}


def product(downstream: Any, upstream: Any) -> Any:
    """The product of two factors of the chain rule; a zero downstream cancels inf and NaN."""
    y = downstream * upstream
    if y == y if y.__class__ is float else np.all(np.equal(y, y)):  # no NaN
        return y
    return plain(REGISTRY["annihilate"].impl(np.asarray(downstream), np.asarray(upstream)))


def local(made: Any, xs: Sequence[Any]) -> tuple[Any, ...]:
    """The partial derivatives of ``made``, one for each argument."""
    return counted(made, "grads", made.grads(*xs), xs)


def counted(made: Any, method: str, parts: Any, xs: Sequence[Any]) -> tuple[Any, ...]:
    """``parts`` as a tuple, or an error if there is not one for each argument."""
    parts = tuple(parts) if isinstance(parts, (tuple, list)) else (parts,)
    if len(parts) != len(xs):
        raise RuleError(f"{type(made).__name__}.{method} returned {len(parts)} values for "
                        f"{len(xs)} arguments; return a tuple with one for each")
    return parts


def parts_of(made: AutogradValue, dy: Any, needs: Sequence[bool]) -> tuple[Any, ...]:
    """The cotangent back to each argument of ``made``, as the sweep adds them up."""
    parts = counted(made, "vjp", made.vjp(dy, *made.args), made.args)
    out: list[Any] = []
    for part, source, need in zip(parts, made.inputs, needs, strict=True):
        part = np.asarray(part)[()] if need and part is not None else None
        if part is not None and part.shape == () != source.aval.shape:
            part = np.full(source.aval.shape, part)  # a partial that is the same for every element
        out.append(part)
    return tuple(out)


def own(dy: Any) -> Any:
    """A cotangent that a user's function may write to: two paths can share the sweep's own."""
    return dy.copy() if isinstance(dy, ndarray) else dy


def plain(x: Any) -> Any:
    """A Python float for a NumPy one, so that gradients print as numbers."""
    return x.item() if isinstance(x, np.generic) else x


def known_of(value: Any) -> Any:
    """What the sweep knows of a value: all numbers are alike, and integers have float gradients."""
    if value.__class__ in {float, int} or np.ndim(value) == 0:
        return SCALAR
    found = aval_of(value)
    return found if found.inexact else aval(found.shape, np.dtype(float))


class Operators:
    """Arithmetic for both classes: each operator makes the operation's subclass."""

    __slots__ = ()
    operations: ClassVar[dict[str, Any]]
    world: ClassVar[type[Any]]  # the class whose values it computes with
    value: Any

    def __add__(self, z: Any) -> Any:
        return self.operations["add"](self, z)

    def __radd__(self, z: Any) -> Any:
        return self.operations["add"](z, self)

    def __sub__(self, z: Any) -> Any:
        return self.operations["subtract"](self, z)

    def __rsub__(self, z: Any) -> Any:
        return self.operations["subtract"](z, self)

    def __mul__(self, z: Any) -> Any:
        return self.operations["multiply"](self, z)

    def __rmul__(self, z: Any) -> Any:
        return self.operations["multiply"](z, self)

    def __truediv__(self, z: Any) -> Any:
        return self.operations["divide"](self, z)

    def __rtruediv__(self, z: Any) -> Any:
        return self.operations["divide"](z, self)

    def __pow__(self, z: Any) -> Any:
        number = isinstance(z, (int, float))
        return self.square() if number and z == 2 else self.operations["power"](self, z)

    def __rpow__(self, z: Any) -> Any:
        return self.operations["power"](z, self)

    def __matmul__(self, z: Any) -> Any:
        return self.operations["matmul"](self, z) if "matmul" in self.operations else NotImplemented

    def __rmatmul__(self, z: Any) -> Any:
        return self.operations["matmul"](z, self) if "matmul" in self.operations else NotImplemented

    def __neg__(self) -> Any:
        return self.operations["negative"](self)

    def __pos__(self) -> Any:
        return self

    def __lt__(self, z: Any) -> Any:
        return self.value < value_of(z)

    def __le__(self, z: Any) -> Any:
        return self.value <= value_of(z)

    def __gt__(self, z: Any) -> Any:
        return self.value > value_of(z)

    def __ge__(self, z: Any) -> Any:
        return self.value >= value_of(z)

    def exp(self) -> Any:
        """Euler's number to the power of the value."""
        return self.operations["exp"](self)

    def log(self) -> Any:
        """The natural logarithm."""
        return self.operations["log"](self)

    def square(self) -> Any:
        """The square."""
        return self.operations["square"](self)

    def tanh(self) -> Any:
        """The hyperbolic tangent."""
        return self.operations["tanh"](self)

    def sin(self) -> Any:
        """The sine."""
        return self.operations["sin"](self)

    def cos(self) -> Any:
        """The cosine."""
        return self.operations["cos"](self)

    def relu(self) -> Any:
        """The positive part."""
        return self.operations["relu"](self)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        """``np.exp(v)``, ``2.0 * v`` with NumPy's numbers, and ``array * v``.

        A value that holds one number meets an array element by element (the result is an array of
        values, dtype object); one that holds an array meets it as a whole.
        """
        if method != "__call__" or kwargs:
            return NotImplemented
        inputs = tuple([x.item() if isinstance(x, np.generic) else x for x in inputs])
        if any(isinstance(x, ndarray) for x in inputs) and np.ndim(self.value) == 0:
            return ufunc(*[boxed(x) for x in inputs])
        name = "divide" if ufunc is np.true_divide else ufunc.__name__
        if name == "power":
            return self ** inputs[1] if inputs[0] is self else self.__rpow__(inputs[0])
        if name in COMPARISONS:
            return ufunc(*map(value_of, inputs))
        return self.operations[name](*inputs) if name in self.operations else NotImplemented


COMPARISONS = {"less", "less_equal", "greater", "greater_equal"}


def value_of(x: Any) -> Any:
    """The number or array that ``x`` holds, or is."""
    return x.value if isinstance(x, Operators) else x


def held(x: Any, cls: type[Any]) -> Any:
    """The plain value of one argument of ``cls``. Raises DTypeError for other worlds' values.

    Raises ArgumentError for complex numbers, and for an input that is no number at all; what an
    operation is given beside numbers (a word, a slice) is its own affair.
    """
    if x.__class__ is float or x.__class__ is int:
        return x
    if isinstance(x, cls.world):
        return x.value
    if isinstance(x, (Box, Node, Operators)):
        raise DTypeError(MIXED)
    x = private(x)
    if kind_of(x) not in ("fiub" if cls.row is None else "fiubUO"):
        raise ArgumentError(f"{cls.__name__} computes with real numbers and arrays of them, not "
                            f"with {type(x).__name__} ({x!r}); ad.tensor takes complex ones")
    return x


def kind_of(x: Any) -> str:
    """The letter of a dtype: f float, i u integer, b boolean, c complex, U text, O anything."""
    return "O" if x is None or isinstance(x, slice) else np.asarray(x).dtype.kind


def fixed(x: Any) -> Node:
    """The Node of an argument that is not differentiated."""
    if x.__class__ is float or kind_of(x) in "fiub":
        return constant(x)
    return node(CONSTANT, (), {}, None, SCALAR)


def boxed(x: Any) -> Any:
    """An array of objects, with which NumPy computes element by element."""
    box = np.empty(np.shape(x) if isinstance(x, ndarray) else (), object)
    box[...] = x
    return box


def without_derivative(cls: type, wanted: str) -> ArgumentError:
    """The error for an operation whose value is written, and whose derivative is not."""
    return ArgumentError(f"{cls.__name__} has func and no derivative: write {wanted} beside it, a "
                         "tuple with one partial derivative for each argument")


class ForwardValue(Operators):
    """Forward mode: a value that carries its derivative with respect to every input as it goes.

        dy/dx_k = sum_i (partial y / partial a_i) da_i/dx_k

    ``ForwardValue(2.0)`` is an input: its ``forward_grads`` are ``{itself: 1}``. A subclass that
    overrides ``func(self, *args)`` and ``grads(self, *args)`` (the tuple of local derivatives) is
    an operation. ``value`` is the result, ``parent_values`` are the plain values of the arguments,
    ``forward_grads`` is ``{input: derivative}``. Nothing earlier needs to be kept. Raises
    RuleError if ``grads`` does not return one derivative for each argument.

    >>> x, w = ad.teach.ForwardValue(2.0), ad.teach.ForwardValue(3.0)
    >>> y = x * w + x
    >>> y.value, y.forward_grads[x], y.forward_grads[w]
    (8.0, 4.0, 2.0)
    """

    row: ClassVar[Primitive | None] = None
    forward_grads: dict[ForwardValue, Any]
    value: Any

    def __init_subclass__(cls) -> None:
        if cls.func is not ForwardValue.func:
            if cls.grads is ForwardValue.grads:
                raise without_derivative(cls, "grads(self, *args)")
            cls.row = row_of(cls)

    def __init__(self, *args: Any) -> None:
        self.parent_values = [held(a, type(self)) for a in args]
        self.value = self.forward_pass(args)

    def forward_pass(self, args: Sequence[Any]) -> Any:
        """Compute the value, and merge the dictionaries of the parents by the chain rule."""
        if self.row is None:
            self.forward_grads = {self: 1}
            return self.func(*self.parent_values)
        y = bind(self.row, [a.moving() if isinstance(a, ForwardValue) else a for a in args],
                 {"made": self})
        if isinstance(y, Dual):
            self.forward_grads = y.tangent.rates
            return y.value
        self.forward_grads = {}
        return y

    def moving(self) -> Dual:
        """The engine's dual number: the value, and all its rates of change at once."""
        return dual(self.value, Rates(self.forward_grads), LEVEL)

    def func(self, *args: Any) -> Any:
        """The value; an operation overrides it."""
        return args[0]

    def grads(self, *args: Any) -> tuple[Any, ...]:
        """The derivative of ``func`` with respect to each argument; an operation overrides it."""
        return (1,) * len(args)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.value})"


class Rates:
    """The tangent of a ForwardValue: a rate of change for each input."""

    __slots__ = ("aval", "rates")

    def __init__(self, rates: dict[ForwardValue, Any]) -> None:
        self.rates, self.aval = rates, None

    def times(self, partial: Any) -> Rates:
        """The rates of a result with this partial derivative, which is downstream of them."""
        return Rates({x: product(partial, rate) for x, rate in self.rates.items()})

    def plus(self, other: Rates) -> Rates:
        """The sum, over the inputs of both."""
        merged = dict(self.rates)
        for x, rate in other.rates.items():
            merged[x] = merged[x] + rate if x in merged else rate
        return Rates(merged)


class AutogradValue(Operators, Node):
    """Reverse mode: a value that remembers how it was made, so that ``backward()`` can go back.

        parent.grad += grad * (partial value / partial parent)

    ``AutogradValue(2.0)`` is an input. A subclass that overrides ``func(self, *args)`` and
    ``grads(self, *args)`` (the tuple of local derivatives), or ``vjp(self, grad, *args)`` (the
    tuple of their products with ``grad``, for arrays), is an operation from the moment it is
    defined. ``parents`` are the arguments as given, ``args`` their plain values, ``value`` the
    result and ``grad`` the derivative that backward() has brought, 0.0 at first. Raises RuleError
    if ``grads`` or ``vjp`` does not return one entry for each argument, or ``vjp`` one of a wrong
    shape.

    >>> x = ad.teach.AutogradValue(2.0)
    >>> a = x ** 2
    >>> L = -(a * (5 * a))
    >>> L.backward()
    >>> L.value, a.grad, x.grad
    (-80.0, -40.0, -160.0)
    """

    __slots__ = ("args", "grad", "parents")
    row: ClassVar[Primitive | None] = None
    # Node's slot, computed: a stored reference to itself would be a cycle.
    params = property(lambda self: {"made": self} if self.inputs else {})  # pyright: ignore[reportAssignmentType]

    def __init_subclass__(cls) -> None:
        if cls.func is not AutogradValue.func:
            if cls.grads is AutogradValue.grads and cls.vjp is AutogradValue.vjp:
                raise without_derivative(cls, "grads(self, *args) or vjp(self, grad, *args)")
            cls.row = row_of(cls)

    def __init__(self, *args: Any) -> None:
        self.parents = list(args)
        self.args = [held(a, type(self)) for a in args]
        self.grad: Any = 0.0
        self.value = self.func(*self.args)
        self.prim, self.inputs = LEAF, ()
        if self.row is not None:
            self.prim = self.row
            self.inputs = tuple(a if isinstance(a, AutogradValue) else fixed(a) for a in args)
        self.aval = known_of(self.value)
        self.index, self.site = next(clock), None

    def func(self, *args: Any) -> Any:
        """The value; an operation overrides it."""
        if len(args) != 1:
            raise ArgumentError("an input holds one value: AutogradValue(2.0); an operation is a "
                                "subclass with func(self, *args) and grads(self, *args)")
        return args[0]

    def grads(self, *args: Any) -> tuple[Any, ...]:
        """The derivative of ``func`` with respect to each argument; an operation overrides it."""
        return (1.0,) * len(args)

    def vjp(self, grad: Any, *args: Any) -> tuple[Any, ...]:
        """``grad`` times the derivative with respect to each argument; override it for arrays."""
        return tuple([product(grad, partial) for partial in local(self, args)])

    def backward(self, gradient: Any = None) -> None:
        """Add to ``grad`` of every value that this one was made from: children first, each once.

        A result with several elements needs ``gradient``, the cotangent to begin with. Raises
        GraphError without it, and ShapeError if its shape is another.
        """
        if gradient is None:
            if np.size(self.value) != 1:
                raise GraphError(f"backward() of a value of shape {np.shape(self.value)} needs the "
                                 "cotangent to contract it with: y.backward(np.ones(shape))")
            gradient = np.ones(np.shape(self.value))
        gradient = np.asarray(gradient, dtype=self.aval.dtype)
        if gradient.shape != np.shape(self.value):
            raise ShapeError(f"backward(gradient): the cotangent has shape {gradient.shape}, the "
                             f"value {np.shape(self.value)}; they are equal")
        with np.errstate(all="ignore"):  # an infinite partial is meant
            leaves = swept({self: gradient[()]})
        for x, dx in leaves.items():
            x.grad = x.grad + plain(dx)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.value}, grad={self.grad})"


# ---- the operations: of AutogradValue, and with the same rules of ForwardValue

def number(name: str, *xs: Any) -> Any:
    """The row's `math` function on Python numbers, its NumPy one on arrays."""
    row = REGISTRY[name]
    numbers = row.scalar and all(x.__class__ in {float, int} for x in xs)
    return row.scalar(*xs) if numbers else plain(row.impl(*xs))


class _add(AutogradValue):  # noqa: N801 - the names of the course, as operations are written
    """The sum a + b."""

    def func(self, *args: Any) -> Any:
        a, b = args
        return a + b

    def grads(self, *args: Any) -> tuple[Any, ...]:
        return 1.0, 1.0


class _sub(AutogradValue):  # noqa: N801 - as above
    """The difference a - b."""

    def func(self, *args: Any) -> Any:
        a, b = args
        return a - b

    def grads(self, *args: Any) -> tuple[Any, ...]:
        return 1.0, -1.0


class _neg(AutogradValue):  # noqa: N801 - as above
    """The negative of a."""

    def func(self, *args: Any) -> Any:
        return -args[0]

    def grads(self, *args: Any) -> tuple[Any, ...]:
        return (-1.0,)


class _mul(AutogradValue):  # noqa: N801 - as above
    """The product a b."""

    def func(self, *args: Any) -> Any:
        a, b = args
        return a * b

    def grads(self, *args: Any) -> tuple[Any, ...]:
        a, b = args
        return b, a


class _div(AutogradValue):  # noqa: N801 - as above
    """The quotient a / b."""

    def func(self, *args: Any) -> Any:
        a, b = args
        return a / b

    def grads(self, *args: Any) -> tuple[Any, ...]:
        a, b = args
        return 1.0 / b, -a / b ** 2


class _exp(AutogradValue):  # noqa: N801 - as above
    """The power e^a, which is its own derivative."""

    def func(self, *args: Any) -> Any:
        return number("exp", args[0])

    def grads(self, *args: Any) -> tuple[Any, ...]:
        return (self.value,)


class _log(AutogradValue):  # noqa: N801 - as above
    """The natural logarithm of a."""

    def func(self, *args: Any) -> Any:
        return number("log", args[0])

    def grads(self, *args: Any) -> tuple[Any, ...]:
        return (1.0 / args[0],)


class _square(AutogradValue):  # noqa: N801 - as above
    """The square of a."""

    def func(self, *args: Any) -> Any:
        return args[0] * args[0]

    def grads(self, *args: Any) -> tuple[Any, ...]:
        return (2.0 * args[0],)


class _power(AutogradValue):  # noqa: N801 - as above
    """The power a^b, with the conventions of `ad.power` at 0; NaN by b where a is negative."""

    def func(self, *args: Any) -> Any:
        a, b = args
        return number("power", a, b) if isinstance(a ** b, complex) else a ** b

    def grads(self, *args: Any) -> tuple[Any, ...]:
        a, b, y = [np.asarray(x, dtype=float)[()] for x in (*args, self.value)]
        with np.errstate(all="ignore"):  # the partial by a constant b is not used
            partials = REGISTRY["power"].vjp(1.0, y, a, b, (True, True))
        return tuple(map(plain, partials))


class _sin(AutogradValue):  # noqa: N801 - as above
    """The sine of a."""

    def func(self, *args: Any) -> Any:
        return number("sin", args[0])

    def grads(self, *args: Any) -> tuple[Any, ...]:
        return (number("cos", args[0]),)


class _cos(AutogradValue):  # noqa: N801 - as above
    """The cosine of a."""

    def func(self, *args: Any) -> Any:
        return number("cos", args[0])

    def grads(self, *args: Any) -> tuple[Any, ...]:
        return (-number("sin", args[0]),)


class _tanh(AutogradValue):  # noqa: N801 - as above
    """The hyperbolic tangent of a."""

    def func(self, *args: Any) -> Any:
        return number("tanh", args[0])

    def grads(self, *args: Any) -> tuple[Any, ...]:
        return (1.0 - self.value * self.value,)


class _relu(AutogradValue):  # noqa: N801 - as above
    """The positive part of a; its derivative at 0 is 0."""

    def func(self, *args: Any) -> Any:
        return number("relu", args[0])

    def grads(self, *args: Any) -> tuple[Any, ...]:
        return (1.0 * (args[0] > 0),)


class _matmul(AutogradValue):  # noqa: N801 - as above
    """The product of two matrices, or of a matrix and a vector; its partials are never formed."""

    def func(self, *args: Any) -> Any:
        a, b = args
        return a @ b

    def vjp(self, grad: Any, *args: Any) -> tuple[Any, ...]:
        a, b = args
        return REGISTRY["matmul"].vjp(grad, self.value, np.asarray(a), np.asarray(b), (True, True))


AutogradValue.world, ForwardValue.world = AutogradValue, ForwardValue
AutogradValue.operations = {
    "add": _add, "subtract": _sub, "negative": _neg, "multiply": _mul, "divide": _div, "exp": _exp,
    "log": _log, "square": _square, "power": _power, "sin": _sin, "cos": _cos, "tanh": _tanh,
    "relu": _relu, "matmul": _matmul}
# No matmul: one partial for each argument is what a ForwardValue multiplies with.
ForwardValue.operations = {
    name: type(cls.__name__, (ForwardValue,), {
        "func": cls.func, "grads": cls.grads, "__doc__": cls.__doc__, "__module__": __name__})
    for name, cls in AutogradValue.operations.items() if name != "matmul"}
