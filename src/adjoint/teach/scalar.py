"""Value: one number that remembers how it was made, and neurons, layers and an MLP made of it.

A Value is itself a `Node` of the engine's graph. What its slot ``value`` holds, and what the rules
see, is the list [data, grad, time]: a rule computes with the data and adds the cotangent that
passes to the gradient of the result; by the times it sees that an operand was changed after its
use. The rules of the common operations stand written out, because they run at every step of a
program of single numbers; a test holds each of them equal to its row. Everything else asks the row.
Start with `Value.__add__` and the rule `_add`; `Value.backward` is the engine's sweep.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import random
from typing import TYPE_CHECKING, Any

import numpy as np

from adjoint.core.node import NO_PARAMS, WEAK, Node, clock, float64, new
from adjoint.core.primitive import CONSTANT, LEAF, REGISTRY, Primitive
from adjoint.core.reverse import order
from adjoint.errors import ArgumentError, GraphError, MutationError

from .classes import swept
from .picture import dot, svg

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    Parts = tuple[float | None, ...]
    Cell = list[Any]

DATA, GRAD, TIME = 0, 1, 2
NUMBERS_LIMIT = 1000


# ---- the rules: rows that also add to the gradient of the result

def _add(dy: float, y: Cell, x: Cell, z: Cell, needs: Sequence[bool]) -> Parts:
    y[GRAD] += dy
    return dy if needs[0] else None, dy if needs[1] else None


def _subtract(dy: float, y: Cell, x: Cell, z: Cell, needs: Sequence[bool]) -> Parts:
    y[GRAD] += dy
    return dy if needs[0] else None, -dy if needs[1] else None


def _multiply(dy: float, y: Cell, x: Cell, z: Cell, needs: Sequence[bool]) -> Parts:
    y[GRAD] += dy
    time = y[TIME]
    if x[TIME] > time or z[TIME] > time:
        raise changed("multiply")
    # `dy and`: a zero downstream cancels inf and NaN.
    return dy and dy * z[DATA] if needs[0] else None, dy and dy * x[DATA] if needs[1] else None


def _negative(dy: float, y: Cell, x: Cell, needs: Sequence[bool]) -> Parts:
    y[GRAD] += dy
    return (-dy,)


def _relu(dy: float, y: Cell, x: Cell, needs: Sequence[bool]) -> Parts:
    y[GRAD] += dy
    return (dy if y[DATA] > 0 else 0.0,)


def _tanh(dy: float, y: Cell, x: Cell, needs: Sequence[bool]) -> Parts:
    y[GRAD] += dy
    return (dy * (1.0 - y[DATA] * y[DATA]),)


def _exp(dy: float, y: Cell, x: Cell, needs: Sequence[bool]) -> Parts:
    y[GRAD] += dy
    return (dy and dy * y[DATA],)


def asked(row: Primitive) -> Callable[..., Parts]:
    """The rule of any other row: its vjp, which expects NumPy's numbers."""
    inner = row.vjp

    def vjp(dy: float, y: Cell, *xs_needs: Any) -> Parts:
        y[GRAD] += dy
        if any(x[TIME] > y[TIME] for x in xs_needs[:-1]):
            raise changed(row.name)
        if not dy:  # a zero downstream cancels inf and NaN
            return tuple([dy if need else None for need in xs_needs[-1]])
        xs = [float64(x[DATA]) for x in xs_needs[:-1]]
        with np.errstate(all="ignore"):  # an infinite partial is meant
            parts = inner(float64(dy), float64(y[DATA]), *xs, xs_needs[-1])
        return tuple([None if p is None else float(p) for p in parts])
    return vjp


def changed(name: str) -> GraphError:
    """The error for an operand that is no longer what the operation had used."""
    return GraphError(f"an operand of {name} was given other data after it was used, so its "
                      "gradient would be that of another program. Call backward() before the "
                      "update of w.data, or run the program again.")


def _divide(dy: float, y: Cell, x: Cell, z: Cell, needs: Sequence[bool]) -> Parts:
    if not math.isfinite(y[DATA]):
        return any_quotient(dy, y, x, z, needs)
    y[GRAD] += dy
    if z[TIME] > y[TIME]:
        raise changed("divide")
    dx = dy / z[DATA]
    return dx if needs[0] else None, -dx * y[DATA] if needs[1] else None


def _power(dy: float, y: Cell, x: Cell, z: Cell, needs: Sequence[bool]) -> Parts:
    if needs[1] or x[DATA] == 0:
        return any_power(dy, y, x, z, needs)
    try:
        slope = z[DATA] * x[DATA] ** (z[DATA] - 1)
    except OverflowError:  # Python's word for an infinite slope
        slope = math.inf
    if not math.isfinite(slope):
        return any_power(dy, y, x, z, needs)
    y[GRAD] += dy
    if x[TIME] > y[TIME]:
        raise changed("power")
    return dy * slope, None


def filling(name: str, vjp: Callable[..., Parts] | None = None) -> Primitive:
    """The row of this name for Values."""
    row = REGISTRY[name]
    return dataclasses.replace(row, vjp=vjp or asked(row))


any_quotient, any_power = asked(REGISTRY["divide"]), asked(REGISTRY["power"])
ADD, SUBTRACT, MULTIPLY = filling("add", _add), filling("subtract", _subtract), filling(
    "multiply", _multiply)
DIVIDE, POWER = filling("divide", _divide), filling("power", _power)
NEGATIVE = filling("negative", _negative)
RELU, TANH, EXP, LOG, SIN = filling("relu", _relu), filling("tanh", _tanh), filling(
    "exp", _exp), filling("log"), filling("sin")
divide, power, tanh, exp, log, sin = [
    row.scalar for row in (DIVIDE, POWER, TANH, EXP, LOG, SIN)]
numbers: dict[float, Node] = {}


def made(row: Primitive, inputs: tuple[Node, ...], data: float) -> Value:
    """The result of a step."""
    y = new(Value)
    y.prim = row
    y.inputs = inputs
    y.index = time = next(clock)
    y.value = [data, 0.0, time]
    return y


def number(x: Any) -> Node | None:
    """The Node of an operand, a plain number or a Value; None if ``x`` is something else."""
    if x.__class__ is float:
        found = numbers.get(x)
        if found is not None:
            return found
    elif isinstance(x, Value):  # a subclass of the user's
        return x
    elif isinstance(x, np.generic) and x.ndim == 0:
        x = x.item()
    if not isinstance(x, (int, float)):
        return None
    n = new(Value)
    n.value, n.prim, n.inputs, n.index = [x, 0.0, -1], CONSTANT, (), next(clock)
    if x.__class__ is float and x != 0.0 and len(numbers) < NUMBERS_LIMIT:  # 0.0 == -0.0
        numbers[x] = n
    return n


def single(x: Any, otherwise: str) -> float:
    """The number that ``x`` is. Raises ArgumentError, which says ``otherwise``, if it is none."""
    n = None if isinstance(x, Value) else number(x)
    if n is None:
        raise ArgumentError(otherwise.format(type(x).__name__))
    return n.value[DATA]


class Value(Node):
    """One number that remembers how it was made: ``Value(data, label="")``.

        leaf.grad += d result / d leaf,    for every Value that the result was made from

    ``+ - * / **``, negation, ``relu()``, ``tanh()``, ``exp()``, ``log()`` and ``sin()`` record;
    plain numbers may stand among the operands. ``data`` is the number, ``grad`` what backward()
    has brought, ``label`` a name for pictures. Recording does not depend on modes such as
    `ad.no_grad`: an update is ``w.data -= rate * w.grad``, between backward() and the next
    program. Raises ArgumentError if data is not one number.

    >>> a, b = ad.teach.Value(2.0, label="a"), ad.teach.Value(-3.0, label="b")
    >>> c = a * b + a ** 2
    >>> c.backward()
    >>> c, a.grad, b.grad
    (Value(data=-2.0, grad=1.0), 1.0, 2.0)
    """

    __slots__ = ("_label",)
    aval, params, site = WEAK[float], NO_PARAMS, None  # the same for all: no slot is filled

    def __init__(self, data: Any, label: str = "") -> None:
        self.value = [single(data, "a Value holds one number, not {}; for arrays there is "
                             "ad.tensor(data, requires_grad=True)"), 0.0, -1]
        self.prim, self.inputs, self.index = LEAF, (), next(clock)
        self._label = label

    @property
    def data(self) -> float:
        """The number. It can be changed on a leaf, for the programs that run after."""
        return self.value[DATA]

    @data.setter
    def data(self, data: float) -> None:
        if self.inputs:
            raise MutationError(f"this Value is the result of {self.prim}; only the data of a leaf "
                                "can be changed. Compute it again from the changed leaves.")
        self.value[DATA] = single(data, "data is one number, not {}; of another Value w it is "
                                  "w.data")
        self.value[TIME] = next(clock)

    @property
    def grad(self) -> float:
        """The derivative that backward() has brought; 0.0 at first."""
        return self.value[GRAD]

    @grad.setter
    def grad(self, grad: float) -> None:
        self.value[GRAD] = single(grad, "grad is one number, not {}; write grad = 0.0, or "
                                  "zero_grad()")

    @property
    def label(self) -> str:
        """A name for pictures."""
        return getattr(self, "_label", "")

    @label.setter
    def label(self, label: str) -> None:
        self._label = label

    # ---- operations, flat: this is what a program of single numbers spends its time on

    def __add__(self, other: Any) -> Value:
        z = other if other.__class__ is Value else number(other)
        if z is None:
            return NotImplemented
        y = new(Value)
        y.prim = ADD
        y.inputs = (self, z)
        y.index = time = next(clock)
        y.value = [self.value[0] + z.value[0], 0.0, time]
        return y

    __radd__ = __add__

    def __mul__(self, other: Any) -> Value:
        z = other if other.__class__ is Value else number(other)
        if z is None:
            return NotImplemented
        y = new(Value)
        y.prim = MULTIPLY
        y.inputs = (self, z)
        y.index = time = next(clock)
        y.value = [self.value[0] * z.value[0], 0.0, time]
        return y

    __rmul__ = __mul__

    def __sub__(self, other: Any) -> Value:
        z = other if other.__class__ is Value else number(other)
        if z is None:
            return NotImplemented
        return made(SUBTRACT, (self, z), self.value[0] - z.value[0])

    def __rsub__(self, other: Any) -> Value:
        z = number(other)
        return NotImplemented if z is None else z - self

    def __truediv__(self, other: Any) -> Value:
        z = other if other.__class__ is Value else number(other)
        if z is None:
            return NotImplemented
        return made(DIVIDE, (self, z), divide(self.value[0], z.value[0]))

    def __rtruediv__(self, other: Any) -> Value:
        z = number(other)
        return NotImplemented if z is None else z / self

    def __pow__(self, other: Any) -> Value:
        z = other if other.__class__ is Value else number(other)
        if z is None:
            return NotImplemented
        return made(POWER, (self, z), power(self.value[0], z.value[0]))

    def __rpow__(self, other: Any) -> Value:
        z = number(other)
        return NotImplemented if z is None else z ** self

    def __neg__(self) -> Value:
        return made(NEGATIVE, (self,), -self.value[0])

    def relu(self) -> Value:
        """The positive part; its derivative at 0 is 0."""
        x = self.value[0]
        return made(RELU, (self,), 0.0 if x <= 0 else x)

    def tanh(self) -> Value:
        """The hyperbolic tangent."""
        return made(TANH, (self,), tanh(self.value[0]))

    def exp(self) -> Value:
        """Euler's number to the power of the value."""
        return made(EXP, (self,), exp(self.value[0]))

    def log(self) -> Value:
        """The natural logarithm."""
        return made(LOG, (self,), log(self.value[0]))

    def sin(self) -> Value:
        """The sine."""
        return made(SIN, (self,), sin(self.value[0]))

    # ---- gradients

    def backward(self) -> None:
        """Add the derivative of this Value to the ``grad`` of every Value that it was made from.

        Raises GraphError if an operand was given other data after it was used.
        """
        for x, dx in swept({self: 1.0}).items():
            x.value[GRAD] += dx

    def zero_grad(self) -> None:
        """Set ``grad`` to 0.0 on every Value of the graph."""
        for n in order([self]):
            n.value[GRAD] = 0.0

    # ---- pictures

    def picture(self) -> str:
        """The graph as SVG text: label, data and grad in each node, and the operations between.

        >>> ad.teach.Value(2.0, label="a").picture().startswith("<svg")
        True
        """
        return svg(order([self])[::-1])

    def dot(self) -> str:
        """The graph as DOT text, for Graphviz.

        >>> print(ad.teach.Value(2.0, label="a").dot())
        digraph {
          rankdir=LR; node [shape=record];
          n... [label="{ a | data 2 | grad 0 }"];
        }
        """
        return dot(order([self])[::-1])

    def __repr__(self) -> str:
        return f"Value(data={self.data}, grad={self.grad})"

    def __lt__(self, other: Any) -> bool:
        return self.data < (other.data if isinstance(other, Value) else other)

    def __le__(self, other: Any) -> bool:
        return self.data <= (other.data if isinstance(other, Value) else other)

    def __gt__(self, other: Any) -> bool:
        return self.data > (other.data if isinstance(other, Value) else other)

    def __ge__(self, other: Any) -> bool:
        return self.data >= (other.data if isinstance(other, Value) else other)


# ---- networks

class Module:
    """What has parameters."""

    def parameters(self) -> list[Value]:
        """All Values that training changes."""
        return []

    def zero_grad(self) -> None:
        """Set ``grad`` of every parameter to 0.0."""
        for p in self.parameters():
            p.grad = 0.0


class Neuron(Module):
    """``activation(sum_i w_i x_i + b)`` of ``inputs`` numbers; activation "tanh", "relu" or None.

    Weights are drawn uniformly from -1 to 1 by ``rng`` (a `random.Random`, or a seed).

    >>> ad.teach.Neuron(2, rng=0)([1.0, -1.0]).data
    0.1712...
    """

    def __init__(self, inputs: int, activation: str | None = "tanh",
                 rng: random.Random | int = 0) -> None:
        if activation not in {"tanh", "relu", None}:
            raise ArgumentError(f'activation is "tanh", "relu" or None, not {activation!r}')
        draw = rng if isinstance(rng, random.Random) else random.Random(rng)  # noqa: S311 - weights
        self.w = [Value(draw.uniform(-1, 1), label=f"w{i}") for i in range(inputs)]
        self.b, self.activation = Value(0.0, label="b"), activation

    def __call__(self, x: Sequence[Any]) -> Value:
        """The neuron's output. Raises ArgumentError if there is not one number for each weight."""
        if len(x) != len(self.w):
            raise ArgumentError(f"this neuron has {len(self.w)} weights and was given {len(x)} "
                                "inputs; give one number for each weight")
        y = self.b
        for w, each in zip(self.w, x, strict=True):
            y = y + w * each
        return y if self.activation is None else getattr(y, self.activation)()

    def parameters(self) -> list[Value]:
        """The weights and the bias."""
        return [*self.w, self.b]

    def __repr__(self) -> str:
        return f"{(self.activation or 'linear').capitalize()}Neuron({len(self.w)})"


class Layer(Module):
    """``outputs`` neurons side by side; the output is a list, or one Value if there is one neuron.

    >>> ad.teach.Layer(3, 2)
    Layer of [TanhNeuron(3), TanhNeuron(3)]
    """

    def __init__(self, inputs: int, outputs: int, activation: str | None = "tanh",
                 rng: random.Random | int = 0) -> None:
        draw = rng if isinstance(rng, random.Random) else random.Random(rng)  # noqa: S311 - weights
        self.neurons = [Neuron(inputs, activation, draw) for _ in range(outputs)]

    def __call__(self, x: Sequence[Any]) -> Any:
        """The outputs of all neurons."""
        out = [neuron(x) for neuron in self.neurons]
        return out[0] if len(out) == 1 else out

    def parameters(self) -> list[Value]:
        """The parameters of all neurons."""
        return [p for neuron in self.neurons for p in neuron.parameters()]

    def __repr__(self) -> str:
        return f"Layer of [{', '.join(map(repr, self.neurons))}]"


class MLP(Module):
    """Layers one after another: ``MLP(3, [4, 4, 1])``; the last one has no activation.

    >>> net = ad.teach.MLP(2, [3, 1])
    >>> len(net.parameters())
    13
    >>> loss = (net([1.0, -1.0]) - 0.5) ** 2
    >>> loss.backward()
    """

    def __init__(self, inputs: int, outputs: Iterable[int], activation: str | None = "tanh",
                 rng: random.Random | int = 0) -> None:
        draw = rng if isinstance(rng, random.Random) else random.Random(rng)  # noqa: S311 - weights
        sizes = [inputs, *outputs]
        last = len(sizes) - 2
        self.layers = [Layer(a, b, None if k == last else activation, draw)
                       for k, (a, b) in enumerate(itertools.pairwise(sizes))]

    def __call__(self, x: Sequence[Any]) -> Any:
        """The output of the last layer."""
        y: Any = x
        for layer in self.layers:
            y = layer(y if isinstance(y, (list, tuple)) or y is x else [y])
        return y

    def parameters(self) -> list[Value]:
        """The parameters of all layers."""
        return [p for layer in self.layers for p in layer.parameters()]

    def __repr__(self) -> str:
        return f"MLP of [{', '.join(map(repr, self.layers))}]"
