"""`ad.explain`: how the derivatives of one run of a program came about.

Start here: `explain` runs a function once (`capture.py`) and gives an `Explanation`, whose methods
each ask one question of the same Record: tables, paths, derivations, pictures, words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from adjoint.errors import ArgumentError, DTypeError

from .capture import capture
from .chain import Chain, chain_of
from .complexes import has_partial
from .costs import modes_of
from .derivation import Derivation, derivation
from .flows import Flows, seed_of
from .graph import Picture, graph
from .influence import Influence, influence_of
from .numbers import unboxed
from .paths import LISTED, Paths, paths_of
from .sheet_view import Look
from .trace_forward import forward_of
from .trace_tables import table_of
from .walks import Walk, walk
from .words import Why, Whys, all_whys, why

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .record import Record, Step
    from .sheet import Sheet


A_FEW = 40  # operations that a notebook draws unasked


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

        By a complex step it is the derivative along the real axis; ``tangent=1j`` gives the other.

        >>> ad.explain(lambda x: x * x, 3.0).tangent(None, wrt="x")
        np.float64(6.0)
        """
        return self.flows.tangent(self.step(name), self.step(wrt), tangent)

    def partial(self, name: str | Step, wrt: str | Step) -> Any:
        """The local partial derivative of a step by one that it is computed from directly.

        Summed over the places where ``wrt`` stands among its arguments. Raises ArgumentError if it
        stands in none, or if there is no such number: of the conjugate of a complex argument.

        >>> ad.explain(lambda x: x * x, 3.0).partial("v2", wrt="x")
        np.float64(6.0)
        """
        step, source = self.step(name), self.step(wrt)
        if not step.inputs:
            raise ArgumentError(f"partial: {step.name} is an input, which is computed from "
                                "nothing; name a step first, then what it is computed from")
        if any(s is source and not has_partial(step, k) for k, s in enumerate(step.inputs)):
            raise ArgumentError(
                f"partial: {step.name} is not holomorphic in {source.name}, so no complex number "
                f"is its derivative; tangent({step.name!r}, {source.name!r}, tangent=1j) is the "
                "derivative along one axis, without a tangent along the other")
        return self.flows.partial(step, source)

    # ---- derivations

    def latex(self, layout: str = "array", shapes: bool | None = None, expand: bool = False,
              digits: int | None = None) -> Derivation:
        r"""A derivation in LaTeX: the program, its local derivatives by rule, the backward pass.

        ``layout`` is "array" (adjoints in the shape of the variable), "numerator" (rows: K x D) or
        "denominator" (columns: D x K); ``shapes`` writes the shape under each factor, where there
        are arrays if not given; ``expand`` adds the nested formula of the result. `str` of it is a
        fragment for a document with amsmath, ``document()`` a whole file. Raises ShapeError where
        a layout of two axes does not fit.

        >>> e = ad.explain(lambda x: np.sin(x) * x, 2.0)
        >>> print(e.latex().parts["Backward"][1])
        \bar{v}_{2} &= \bar{v}_{3} \cdot x = 2 && \mbox{through v3}
        """
        return derivation(self, layout, shapes, expand, digits)

    # ---- pictures

    def graph(self, hide: str | Sequence[str] = (), until: str | Step | None = None,
              back: str | Step | None = None, collapse: int = 0, direction: str = "right",
              legend: bool = True, digits: int | None = None) -> Picture:
        """The picture of the graph: values, adjoints, local partials, and how gradients flow.

        ``hide`` is one or more of "adjoints", "values", "partials", "constants". For slides, all
        of one size: ``until`` a step of the forward pass, then ``back`` to a step of the backward
        pass. ``collapse`` draws the layers at that depth as one vertex each (1: the outermost);
        programs of more than 150 operations are drawn with their layers or their middle left out.
        ``direction`` is "right" or "down". In a notebook it shows as SVG; ``.write("x.png")``
        saves it as .svg, .png, .pdf, .dot or .mmd. Raises ArgumentError for other settings.

        >>> picture = ad.explain(lambda x: np.sin(x) * x, 2.0).graph()
        >>> picture.svg().startswith("<svg")
        True
        """
        return graph(self, hide, until, back, collapse, direction, legend, digits)

    def _repr_svg_(self) -> str:
        return graph(self, most=A_FEW).svg()

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

    # ---- traces

    def table(self, part: str | None = None, *, order: str | None = None, digits: int | None = None,
              whole: bool | None = None, rows: int | None = 60, source: str | None = "line",
              partials: bool = True) -> Sheet:
        """The forward trace of values beside the reverse trace of adjoints.

        Backward every use of a step adds a line to its adjoint, the first with ``=``:

            adjoint(u) += adjoint(v) * dv/du    for each v that is computed from u

        Args:
            part: "forward" or "reverse" alone; "nodes": parents, args, value and gradient of each
                node; None for both traces.
            order: Both traces from their beginning, side by side ("time"), or each adjoint beside
                its step ("step", under a heading for each layer); None chooses by the layers.
            digits: Significant digits; None for three decimals.
            whole: Arrays in full, not as shape, smallest and largest element; None: if all adjoints
                are small Jacobians.
            rows: The most rows that are shown; None for all.
            source: "line" numbers, also the "text" of the lines, or None.
            partials: Whether the local partials have a column.

        Raises ArgumentError for settings that do not exist.

        >>> def f(x1, x2):
        ...     return np.log(x1) + x1 * x2 - np.sin(x2)
        >>> table = ad.explain(f, 2.0, 5.0, names="v").table("reverse", source=None, partials=False)
        >>> print(table.text(60))
        f: adjoints, from the result back to the inputs
        <BLANKLINE>
        chain rule         numbers         adjoint
        ──────────────────────────────────────────
        v̄7 = ∂v7/∂v7                         1
        v̄5 = v̄7 · 1        1 · 1             1
        v̄6 = v̄7 · (-1)     1 · (-1)         -1
        v̄2 = v̄6 · cos(v2)  (-1) · 0.284     -0.284
        v̄3 = v̄5 · 1        1 · 1             1
        v̄4 = v̄5 · 1        1 · 1             1
        v̄1 = v̄4 · v2       1 · 5             5
        v̄2 += v̄4 · v1      -0.284 + 1 · 2    1.716
        v̄1 += v̄3 · 1/v1    5 + 1 · 0.5       5.5
        """
        return table_of(self, part, order, source, digits=digits, whole=whole, rows=rows,
                        partials=partials)

    def forward(self, wrt: Any = None, tangent: Any = None, *, digits: int | None = None,
                whole: bool = False, rows: int | None = 60, source: str | None = "line") -> Sheet:
        """The forward-mode trace: each value with its tangent, in one pass from the inputs.

            v̇ = sum_u dv/du u̇    over the steps u that v is computed from

        Args:
            wrt: The step that the tangents are derivatives by, or several, each with columns of its
                own; None for all inputs.
            tangent: A direction, an array of the shape of ``wrt``, instead of the Jacobian.
            digits: Significant digits; None for three decimals.
            whole: Arrays in full.
            rows: The most rows that are shown; None for all.
            source: "line" numbers, also the "text" of the lines, or None.

        Raises ArgumentError for steps and settings that do not exist, ShapeError for a tangent of
        another shape.

        >>> e = ad.explain(lambda x1, x2: x1 * np.sin(x2), 2.0, 5.0)
        >>> print(e.forward("x1", source=None).text(100))
        <lambda>: values and tangents, forward mode by x1
        <BLANKLINE>
            forward: values     │                       tangents
        ─────────────────────── │ ─────────────────────────────────────────────────────
        step  operation   value │ chain rule              numbers               tangent
        ───────────────────────────────────────────────────────────────────────────────
        x1    input       2     │ ẋ1 = ∂x1/∂x1                                    1
        x2    input       5     │ ẋ2 = ∂x2/∂x1                                    0
        v3    sin(x2)    -0.959 │ v̇3 = ẋ2 · cos(x2)       0 · 0.284               0
        v4    x1 * v3    -1.918 │ v̇4 = ẋ1 · v3 + v̇3 · x1  1 · (-0.959) + 0 · 2   -0.959
        """
        return forward_of(self, wrt, tangent, source, Look(digits, whole, rows))

    def modes(self) -> Sheet:
        """Forward and reverse mode side by side: the passes and operations that each costs.

        Forward mode makes a pass for each number among the inputs, reverse mode one for each number
        of the result. Operations are counted from the rules of the steps.

        >>> e = ad.explain(lambda x: x[0] * x[1] * x[2], np.array([2.0, 3.0, 5.0]))
        >>> [(row["mode"], row["passes"]) for row in e.modes().dict()["rows"]]
        [('values', 1), ('forward', 3), ('reverse', 1)]
        """
        return modes_of(self)

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

    # ---- the chain rule as a sum

    def paths(self, source: str | Step, target: str | Step | None = None, *, limit: int = LISTED,
              of: int | tuple[int, ...] | None = None, elements: bool = False,
              group: bool | str | Sequence[str] = False, first: int = 0) -> Paths:
        """The chain rule as a sum over paths: each path, its factors, its product and its share.

            dL/dx = sum over the paths x -> u -> ... -> L of dL/d.. ... du/dx

        Args:
            source: where the paths begin; ``"x[0]"`` is an element of an array.
            target: where they end; the result if none is named.
            limit: how many are listed: those with the largest products (NaN before all others).
                The count, the total and the rest are exact however many there are.
            of: the element of the target whose derivative is meant.
            elements: whether arrays are taken apart into their elements, up to 1,000 of them;
                otherwise the factors are Jacobian matrices in numerator layout.
            group: True leaves out the steps that have no name in the source; names keep these
                alone. A factor is then the sum over all ways through what was left out, and two
                variables are joined by one edge. Otherwise ``x * x`` is two paths.
            first: 0 counts elements as Python does (``x[0]``), 1 as on slides (``x1``).

        Raises ArgumentError for unknown names, constants, complex steps, more than 1,000 elements;
        IndexingError for an element that is not there.

        >>> e = ad.explain(lambda x: x * x * x, 2.0)
        >>> p = e.paths("x")
        >>> p.count, p.total, [float(path.product) for path in p]
        (3, np.float64(12.0), [4.0, 4.0, 4.0])
        >>> print(e.paths("v2"))
        Paths from v2 to v3
        <BLANKLINE>
        path     factors  numbers  product    share
        ───────────────────────────────────────────
        v2 → v3  x        2              2  100.0 %
        ───────────────────────────────────────────
        dv3/dv2                          2  100.0 %
        <BLANKLINE>
        1 path from v2 to v3
        v2 = x * x, v3 = v2 * x
        """
        return paths_of(self.record, self.flows, source, target, limit=limit, of=of,
                        elements=elements, group=group, first=first)

    def influence(self, sources: str | Step | Sequence[str | Step] | None = None,
                  target: str | Step | None = None, *, elements: bool = False,
                  group: bool | str | Sequence[str] = True, first: int = 0) -> Influence:
        """The influence diagram: which variable acts on which, with the partial on each edge.

        From ``sources`` (all inputs if none is named) to ``target`` (the result); the other
        arguments are those of `paths`. Raises ArgumentError as it does.

        >>> def f(x):
        ...     a = np.sum(x)
        ...     y = a * np.exp(x)
        ...     return np.sum(y)
        >>> d = ad.explain(f, np.array([1.0, 2.0])).influence(elements=True)
        >>> [v.name for v in d.variables]
        ['x[0]', 'x[1]', 'a', 'y[0]', 'y[1]', 'v5']
        >>> d.edges[4].symbol, d.edges[4].text, round(float(d.edges[4].factor), 3)
        ('∂y[1]/∂x[1]', 'a · v3[1]', 22.167)
        """
        names: Any = self.record.inputs if sources is None else (
            sources if isinstance(sources, (list, tuple)) else [sources])
        return influence_of(self.record, self.flows, [self.step(s) for s in names],
                            self.step(target), elements=elements, group=group, first=first)

    def chain(self, *names: str | Step, group: bool | str | Sequence[str] = True) -> Chain:
        """The product form of the chain rule, in backward order.

            dL/dv = (∂u/∂v) dL/du,    a new factor times what was computed already

        A line for each use of each variable on the way from the result to those of these names
        (all inputs if there are none); ``+=`` where a variable is used again. ``group`` is as in
        `paths`: True keeps the variables that the source names, False every step. Raises
        ArgumentError for unknown names, constants and complex steps.

        >>> def f(x, w):
        ...     h = w * x
        ...     return h ** 2
        >>> c = ad.explain(f, 3.0, 2.0).chain("w")
        >>> [(line.name, line.formula, float(line.factor), float(line.already)) for line in c]
        [('h', '2 h', 12.0, 1.0), ('w', 'x', 3.0, 12.0)]
        >>> c["w"]
        36.0
        """
        sources = [self.step(n) for n in names] if names else self.record.inputs
        return chain_of(self.record, self.flows, sources, group=group)

    def step(self, name: str | Step | None = None) -> Step:
        """The step of this name, the result if there is none. Raises ArgumentError if unknown."""
        return self.record.output if name is None else self.record.find(name)

    def __repr__(self) -> str:
        count = len(self.record.operations)
        inputs = len(self.record.inputs)
        return (f"Explanation of {self.record.title}: {inputs:,} input{'s' * (inputs != 1)}, "
                f"{count:,} operation{'s' * (count != 1)}, result {self.record.output.name}")


def explain(f: Callable[..., Any], *args: Any, names: str = "source", cotangent: Any = None,
            **kwargs: Any) -> Explanation:
    """Run ``f`` once and hold every step of it, to show how each derivative came about.

    Floats, arrays of floats and tensors among the arguments, in containers too, are the inputs;
    other arguments are passed on. ``names`` is "source" (variables of the program) or "v" (v1, v2,
    ...). If the result has axes, adjoints are Jacobians, or, with ``cotangent`` (an array of its
    shape), vector-Jacobian products. ``f`` may also be a training step that calls backward(): its
    loss is explained. Raises ArgumentError without an input or with several results, GraphError if
    the result does not depend on the inputs, ShapeError or DTypeError for a cotangent that does not
    fit the result. The caller's `np.errstate` holds while ``f`` runs, but nothing is warned of:
    what is not finite is marked where it is shown.

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
    return Explanation(record, Flows(record, seeded(record.output, cotangent)))


def seeded(output: Step, cotangent: Any) -> Any:
    """The cotangent as an array; raises for one that the result cannot have."""
    if cotangent is None:
        return None
    given = np.asarray(unboxed(cotangent))
    kinds = "biufc" if output.dtype.kind == "c" else "biuf"
    if given.dtype.kind not in kinds:
        raise DTypeError(f"explain(cotangent): it holds {given.dtype}, the result "
                         f"{output.name} {output.dtype}; give numbers like those of the result")
    return seed_of(output, given)
