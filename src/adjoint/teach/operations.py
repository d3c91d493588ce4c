"""Autograd: a list of operations that the user writes down himself, on plain NumPy arrays.

An `Operation` holds a `Node`: the list is the engine's tape, and backward() is the engine's sweep.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

import numpy as np

from adjoint.core.node import NO_PARAMS, Node, leaf, node, private
from adjoint.core.primitive import PUBLIC, REGISTRY, Label, Primitive
from adjoint.errors import ArgumentError, GraphError, RuleError, ShapeError

from .classes import known_of, own, swept

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class MemoryBuffer:
    """The gradients, one for each array, found by the array itself and not by its values."""

    def __init__(self) -> None:
        self.memory: dict[int, Any] = {}
        self.held: dict[int, Any] = {}  # the arrays, so that no other can take their identity

    def add_spot(self, array: Any) -> None:
        """Make room for the gradient of ``array``, zero at first."""
        if id(array) not in self.memory:
            self.memory[id(array)] = np.zeros(np.shape(array))
            self.held[id(array)] = array

    def is_in_memory(self, array: Any) -> bool:
        """Whether there is a spot for ``array``."""
        return id(array) in self.memory

    def update_param(self, array: Any, gradient: Any) -> None:
        """Add ``gradient`` to the spot of ``array``."""
        self.set_param(array, self.get_param(array) + gradient)

    def set_param(self, array: Any, gradient: Any) -> None:
        """Replace what stands in the spot of ``array``."""
        self.get_param(array)
        self.memory[id(array)] = gradient

    def get_param(self, array: Any) -> Any:
        """The gradient of ``array``. Raises GraphError if no operation has it as an input."""
        if id(array) not in self.memory:
            raise GraphError(f"this array of shape {np.shape(array)} is not an input of any "
                             "operation here; ask with the array object itself, not with a "
                             "copy or a slice")
        return self.memory[id(array)]

    def clear(self) -> None:
        """Forget all gradients."""
        self.memory.clear()
        self.held.clear()


class Operation:
    """One line of the list: inputs, output, where gradients go, and the backward function."""

    def __init__(self, inputs: Sequence[Any], output: Any, gradients_to_update: Sequence[Any],
                 backward_operation: Callable[..., Any]) -> None:
        self.inputs, self.output = list(inputs), output
        self.gradients_to_update = list(gradients_to_update)
        self.backward_operation = backward_operation
        self.node: Node

    def __repr__(self) -> str:
        shapes = ", ".join(str(np.shape(x)) for x in self.inputs)
        return f"Operation({name_of(self.backward_operation)}: {shapes} -> {np.shape(self.output)})"


class Autograd:
    """Reverse mode with an explicit list of operations, as in a training loop written by hand.

        x_j.gradient += backward_operation(grad_output, *inputs)[j]

    The program computes with NumPy; after each step `add_operation` notes what was done.
    ``backward(divergence)`` goes through the list in reverse.

    >>> engine = ad.teach.Autograd()
    >>> x, w, dw = np.array([1.0, 2.0]), np.array([3.0, 5.0]), np.zeros(2)
    >>> y = x * w
    >>> engine.add_operation([x, w], y, [None, dw], ad.teach.mul_backward)
    >>> engine.backward(np.ones(2))
    >>> engine.gradient_buffer.get_param(x), dw
    (array([3., 5.]), array([1., 2.]))
    """

    def __init__(self) -> None:
        self.gradient_buffer = MemoryBuffer()
        self.operation_list: list[Operation] = []
        self.nodes: dict[int, Node] = {}

    def add_operation(self, inputs: Sequence[Any], output: Any, gradients_to_update: Sequence[Any],
                      backward_operation: Callable[..., Any]) -> None:
        """Note one step: ``output`` was computed from ``inputs``.

        ``backward_operation(grad_output, *inputs)`` returns one gradient for each input. The
        gradient of input j is added to ``gradients_to_update[j]`` in place, or to the spot of the
        input in ``gradient_buffer`` where that is None. Raises ArgumentError unless inputs and
        output are NumPy arrays and there is one entry of ``gradients_to_update`` for each input.
        """
        if len(inputs) != len(gradients_to_update):
            raise ArgumentError(f"add_operation: {len(inputs)} inputs, "
                                f"{len(gradients_to_update)} gradients_to_update; give one for "
                                "each input (None: the buffer)")
        for x, target in zip(inputs, gradients_to_update, strict=True):
            if target is not None and (not isinstance(target, np.ndarray)
                                       or target.shape != np.shape(x)
                                       or target.dtype.kind not in "fc"):
                raise ArgumentError("add_operation: gradients_to_update holds None or floating "
                                    "point arrays of the shape of their inputs, not "
                                    f"{described(target)} for {described(x)}")
        if id(output) in self.nodes or any(x is output for x in inputs):
            raise ArgumentError("add_operation: this output is known already: a step in place "
                                "would overwrite what the way back needs; compute a new array, "
                                "y = x + b")
        for x in (*inputs, output):
            if not isinstance(x, (np.ndarray, np.generic)):
                raise ArgumentError(f"add_operation: {x!r} is not a NumPy array, and arrays are "
                                    "told apart by identity; write np.array(2.0), and use that "
                                    "object")
        operation = Operation(inputs, output, gradients_to_update, backward_operation)
        sources = tuple(self.source(x) for x in inputs)
        row = row_of(operation, sources, self.gradient_buffer)
        operation.node = node(row, sources, NO_PARAMS, private(output), known_of(output))
        self.operation_list.append(operation)
        self.nodes[id(output)] = operation.node

    def source(self, x: Any) -> Node:
        """The Node of an input: the operation that made it, or a new leaf."""
        self.gradient_buffer.add_spot(x)
        if id(x) not in self.nodes:
            made = self.nodes[id(x)] = leaf(private(x), lambda: x)
            made.aval = known_of(x)
        return self.nodes[id(x)]

    def backward(self, divergence: Any) -> None:
        """Go through the list in reverse; ``divergence`` is the gradient of the last output.

        Raises GraphError if the list is empty, ShapeError if the shapes differ.
        """
        if not self.operation_list:
            raise GraphError("the list of operations is empty: call add_operation for each step")
        last = self.operation_list[-1]
        seed = np.asarray(divergence, dtype=last.node.aval.dtype)
        if seed.shape != np.shape(last.output):
            raise ShapeError(f"backward(divergence): shape {seed.shape}, but the last output has "
                             f"shape {np.shape(last.output)}; they are equal")
        with np.errstate(all="ignore"):  # an infinite partial is meant
            leaves = swept({last.node: seed[()]})
        for x, dx in leaves.items():
            self.gradient_buffer.update_param(x.owner(), dx)

    def zero_grad(self) -> None:
        """Forget the operations and the gradients in the buffer; given arrays stay as they are."""
        self.gradient_buffer.clear()
        self.operation_list.clear()
        self.nodes.clear()


def row_of(operation: Operation, sources: Sequence[Node], buffer: MemoryBuffer) -> Primitive:
    """The one-off row of an operation: its vjp calls the backward operation.

    It holds neither the engine nor the operation, which hold it: that would be a cycle.
    """
    backward_operation, output = operation.backward_operation, operation.output
    name = name_of(backward_operation)
    places = [(x, target, bool(source.inputs)) for x, target, source in zip(
        operation.inputs, operation.gradients_to_update, sources, strict=True)]

    def impl(*xs: Any) -> Any:
        raise GraphError(f"{name}: only the way back of this operation is known")

    def vjp(dy: Any, y: Any, *xs_needs: Any) -> tuple[Any, ...]:
        if buffer.is_in_memory(output):
            buffer.update_param(output, dy)
        found = backward_operation(own(dy), *map(guarded, xs_needs[:-1]))
        found = tuple(found) if isinstance(found, (tuple, list)) else (found,)
        if len(found) != len(places):
            raise RuleError(f"{name} returned {len(found)} gradients for {len(places)} inputs; "
                            "return one for each, None where there is none")
        return tuple([placed(name, dx, *place) for dx, place in zip(found, places, strict=True)])
    return Primitive(name, impl, vjp=vjp, keeps=frozenset({"x"}),
                     label=Label(f"{name}({{0}}, ...)"))


def placed(name: str, dx: Any, x: Any, target: Any, computed: bool) -> Any:
    """Add ``dx`` to ``target``, if there is one; else, or if ``x`` was computed, sweep on."""
    if dx is None:
        return None
    dx = np.asarray(dx)[()]
    if dx.shape != np.shape(x):
        raise ShapeError(f"{name}: a gradient of shape {dx.shape} for an input of shape "
                         f"{np.shape(x)}; undo broadcasting with ad.unbroadcast(grad, shape)")
    if target is None:
        return dx
    target += dx
    return dx if computed else None


def guarded(x: Any) -> Any:
    """A view of what the graph holds that a backward operation cannot write to."""
    if isinstance(x, np.ndarray):
        x = x.view()
        x.flags.writeable = False
    return x


def described(x: Any) -> str:
    """The dtype and shape of an array, the type of anything else."""
    return f"{x.dtype}{list(x.shape)}" if isinstance(x, np.ndarray) else type(x).__name__


def name_of(backward_operation: Any) -> str:
    """How a backward operation is called."""
    return getattr(backward_operation, "__name__", type(backward_operation).__name__)


def backward_of(name: str) -> Callable[..., tuple[Any, ...]]:
    """The backward operation of a row: ``(grad_output, *inputs) -> gradients``, unbroadcast.

    Raises ArgumentError for a name that no row has.

    >>> ad.teach.backward_of("add")(np.ones((3, 2)), np.ones((3, 2)), np.ones(2))[1]
    array([3., 3.])
    """
    if name not in REGISTRY:
        near = difflib.get_close_matches(name, REGISTRY, 3)
        raise ArgumentError(f"backward_of: there is no operation {name!r}"
                            + (f"; did you mean {', '.join(near)}?" if near else ""))
    row = REGISTRY[name]

    def backward_operation(grad_output: Any, *inputs: Any) -> tuple[Any, ...]:
        dy, *xs = [np.asarray(x)[()] for x in (grad_output, *inputs)]
        parts = row.vjp(dy, row.impl(*xs), *xs, (True,) * len(xs))
        return tuple([p if np.shape(p) == x.shape else PUBLIC["unbroadcast"](p, x.shape)
                      for p, x in zip(parts, xs, strict=True)])
    backward_operation.__name__ = backward_operation.__qualname__ = f"{name}_backward"
    backward_operation.__doc__ = f"The gradients of {name} with respect to its arguments."
    return backward_operation


add_backward = backward_of("add")
sub_backward = backward_of("subtract")
mul_backward = backward_of("multiply")
div_backward = backward_of("divide")
matmul_backward = backward_of("matmul")
exp_backward = backward_of("exp")
log_backward = backward_of("log")
tanh_backward = backward_of("tanh")
sigmoid_backward = backward_of("sigmoid")
relu_backward = backward_of("relu")
