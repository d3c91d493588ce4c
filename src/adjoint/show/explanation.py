"""`ad.explain`: how the derivatives of one run of a program came about.

Start here: `explain` runs a function once (`capture.py`) and gives an `Explanation`, whose methods
each ask one question of the same Record: tables, paths, derivations, pictures, words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .capture import capture
from .flows import Flows
from .walks import Walk, walk
from .words import Why, Whys, all_whys, why

if TYPE_CHECKING:
    from collections.abc import Callable

    from .record import Record, Step


class Explanation:
    """One run of a program, held whole; made by `ad.explain`.

    ``record`` are its steps, ``flows`` the derivatives through them. A step is named by the
    variable that it was assigned to, a parameter by its own name, the others v1, v2, ... by their
    place; what recurs gets a number: ``x``, ``x.2``.
    """

    def __init__(self, record: Record, flows: Flows) -> None:
        self.record, self.flows = record, flows

    # ---- numbers

    @property
    def names(self) -> list[str]:
        """The names of the inputs and operations, in order.

        >>> ad.explain(lambda x: np.sin(x) * x, 2.0).names
        ['x', 'v2', 'v3']
        """
        return [s.name for s in self.record.steps]

    def value(self, name: str | Step | None = None) -> Any:
        """The value of a step, of the result if none is named.

        >>> ad.explain(lambda x: x * x, 3.0).value()
        np.float64(9.0)
        """
        return self.step(name).value

    def adjoint(self, name: str | Step | None = None) -> Any:
        """The adjoint of a step: the derivative of the result with respect to it.

            adjoint(v) = dL/dv

        Its shape is that of the step, behind the axes of the result where that is no number. Of
        complex numbers `ad.grad` gives the conjugate of this.

        >>> ad.explain(lambda x: x * x, 3.0).adjoint("x")
        np.float64(6.0)
        """
        return self.flows.adjoint(self.step(name))

    def tangent(self, name: str | Step | None, wrt: str | Step, tangent: Any = None) -> Any:
        """The derivative of a step with respect to an earlier one, by forward mode.

            tangent(v, wrt=u) = dv/du,    or (dv/du) t in the direction ``tangent`` t

        >>> ad.explain(lambda x: x * x, 3.0).tangent(None, wrt="x")
        np.float64(6.0)
        """
        return self.flows.forward(self.step(wrt), tangent).get(self.step(name), 0.0)

    def partial(self, name: str | Step, wrt: str | Step) -> Any:
        """The local partial derivative of a step by one that it is computed from directly.

        Summed over the places where ``wrt`` stands among its arguments. Raises ArgumentError if it
        stands in none.

        >>> ad.explain(lambda x: x * x, 3.0).partial("v2", wrt="x")
        np.float64(6.0)
        """
        return self.flows.partial(self.step(name), self.step(wrt))

    # ---- ways back

    def steps(self, order: str = "index", limit: int = 100) -> Walk:
        """A walk back through the graph: which steps are visited, and what is in the buffer.

        ``order`` is "dfs" (the recursive search of lectures: once for each path), "topological"
        (depth-first sorted, each step once), "index" (newest first, as the engine does) or "list"
        (all operations backwards). Visits are counted exactly, the first ``limit`` are listed.
        Raises ArgumentError for another order.

        >>> def diamonds(x):
        ...     for _ in range(20):
        ...         x = x + x
        ...     return x
        >>> e = ad.explain(diamonds, 1.0)
        >>> e.steps("dfs").count, e.steps("topological").count
        (2097151, 21)
        """
        return walk(self, order, limit)

    # ---- words

    def why(self, name: str | Step | None = None) -> Why | Whys:
        """Why the gradient of a step is what it is, in sentences; of every input if none is named.

        They say what is zero and why (a dead rectifier, a mask, a factor of 0, a value that was
        detached or is not used), what is saturated or cancels, which way carries most, and where
        the gradient vanishes or explodes on its way back.

        >>> e = ad.explain(lambda x, w: ad.relu(w * x) * 2.0, 3.0, -1.0)
        >>> e.why("w").kinds
        ['gradient', 'dead']
        >>> print(e.why("w"))
        dv5/dw = 0.
        v4 = relu(v3) (line 1 of ...) is dead (on its flat side): the partial [v3 > 0] is 0 there
        (v3 = -3).
        """
        return all_whys(self) if name is None else why(self, self.step(name))

    def step(self, name: str | Step | None = None) -> Step:
        """The step of this name, the result if there is none. Raises ArgumentError if unknown."""
        return self.record.output if name is None else self.record.find(name)

    def __repr__(self) -> str:
        count = len(self.record.operations)
        return (f"Explanation of {self.record.title}: {len(self.record.inputs)} inputs, {count:,} "
                f"operations, result {self.record.output.name}")


def explain(f: Callable[..., Any], *args: Any, names: str = "source", cotangent: Any = None,
            **kwargs: Any) -> Explanation:
    """Run ``f`` once and hold every step of it, to show how each derivative came about.

    Floats, arrays of floats and tensors among the arguments, in containers too, are the inputs;
    other arguments are passed on. ``names`` is "source" (variables of the program) or "v" (v1, v2,
    ...). If the result has axes, adjoints are Jacobians, or, with ``cotangent`` (an array of its
    shape), vector-Jacobian products. ``f`` may also be a training step that calls backward(): its
    loss is explained. Raises ArgumentError without an input or with several results, GraphError if
    the result does not depend on the inputs.

    >>> def f(x1, x2):
    ...     a = np.log(x1)
    ...     return a + x1 * x2 - np.sin(x2)
    >>> e = ad.explain(f, 2.0, 5.0)
    >>> e.names
    ['x1', 'x2', 'a', 'v4', 'v5', 'v6', 'v7']
    >>> round(float(e.adjoint("x1")), 3), round(float(e.adjoint("x2")), 3)
    (5.5, 1.716)
    """
    record = capture(f, args, kwargs, names)
    return Explanation(record, Flows(record, cotangent))
