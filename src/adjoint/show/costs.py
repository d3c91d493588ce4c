"""`Explanation.modes`: what forward and reverse mode cost for one program, counted.

The rule of each step is run once with a tangent (or cotangent) in the custody of a `Counted`, which
notes each operation that it takes part in. Forward mode is then counted for all its passes without
making them: `reaching` says which inputs reach a step, and steps that they reach alike cost alike.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from adjoint.core.box import Box, Level, bind
from adjoint.core.node import Mode, aval_of
from adjoint.core.symbol import Graph
from adjoint.hooks import HOOK

from .cells import Column
from .flows import EngineRules
from .formula import parse
from .record import OPERATION, uncollected
from .sheet import Sheet

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from adjoint.core.primitive import Primitive

    from .explanation import Explanation
    from .record import Record, Step


class Cost(NamedTuple):
    """Counted: operations on numbers, and how many of them are multiplications or divisions."""

    operations: int = 0
    multiplications: int = 0

    def plus(self, other: Cost, times: int = 1) -> Cost:
        """The sum, with ``times`` the other."""
        return Cost(self.operations + times * other.operations,
                    self.multiplications + times * other.multiplications)


class Counted(Box):
    """A tangent or cotangent that notes the operations it takes part in."""

    __slots__ = ("log",)
    log: list[Cost]

    def __init__(self, value: Any, level: int, log: list[Cost]) -> None:
        self.value, self.aval, self.level, self.log = value, aval_of(value), level, log

    def interpret(self, row: Primitive, args: Sequence[Any], params: dict[str, Any]) -> Any:
        """Apply ``row`` one level down, and note what it costs."""
        xs = [a.value if isinstance(a, Counted) and a.level == self.level else a for a in args]
        y = bind(row, xs, params)
        self.log.append(cost_of(row, xs, y, params))
        if isinstance(y, tuple):
            parts: Any = y
            return tuple([Counted(part, self.level, self.log) for part in parts])
        return y if row.nondiff else Counted(y, self.level, self.log)


def cost_of(row: Primitive, xs: Sequence[Any], y: Any, params: dict[str, Any]) -> Cost:
    """What one operation costs: one for each number that is made; moving numbers is free."""
    if row.alias or row is HOOK:
        return Cost()
    made, given = int(np.size(y)), [int(np.size(x)) for x in xs]
    if row.elementwise:
        return Cost(made, made if row.zero_wins else 0)
    if row.zero_wins:  # a sum of products: between ones it counts them
        ones = [np.ones(np.shape(x)) for x in xs]
        products = int(np.sum(row.impl(*ones, **params)))
        return Cost(2 * products - made, products)
    if row.label.rule == "product rule":  # of the elements of one array
        return Cost(max(given) - made, max(given) - made) if made < max(given) else Cost(made, made)
    if row.label.work:
        return told(row.label.work, xs)
    if is_moving(row, xs, y, params):
        return Cost()
    return Cost(max(max(given, default=made) - made, made))


def told(work: str, xs: Sequence[Any]) -> Cost:
    """What the Label counts, for each of a stack of matrices; half of it are multiplications."""
    *stack, rows, columns = np.shape(xs[0])
    beside = np.shape(xs[1]) if len(xs) > 1 else ()
    sizes = {"m": max(rows, columns), "n": min(rows, columns),
             "k": beside[-1] if len(beside) > 1 else 1}
    formula = parse(work)
    count = round(float(formula(**{v: float(sizes[v]) for v in formula.variables})))
    return Cost(math.prod(stack) * count, math.prod(stack) * (count // 2))


def inner(step: Step) -> list[Cost] | None:
    """What the steps of a program cost that a step runs, such as one that recomputes."""
    if not any(isinstance(p, Graph) for p in step.params.values()):
        return None
    log: list[Cost] = []
    with Level() as level, np.errstate(all="ignore"):
        step.row.impl(*[Counted(s.value, level, log) for s in step.inputs], **step.params)
    return log


def is_moving(row: Primitive, xs: Sequence[Any], y: Any, params: dict[str, Any]) -> bool:
    """Whether each number of the result is one of those given, or zero, wherever it comes to lie.

    Tried on numbers, on others, and on differences of both: a sort or a maximum chooses by the
    values, and is not the difference of what it makes of either.
    """
    floating = [np.asarray(x).dtype.kind == "f" for x in xs]
    if row.effects != "none" or isinstance(y, tuple) or not any(floating) or not np.size(y):
        return False
    rng = np.random.default_rng(0)

    def normal(shape: tuple[int, ...]) -> Any:
        return rng.normal(size=shape)

    def made(one: Sequence[Any], other: Sequence[Any]) -> Any:
        return np.asarray(row.impl(*[a - b if moving else x for a, b, moving, x in zip(
            one, other, floating, xs, strict=True)], **params))
    nothing, one, other = ([np.asarray(draw(np.shape(x)), np.asarray(x).dtype)[()] for x in xs]
                           for draw in (np.zeros, normal, normal))
    try:
        with np.errstate(all="ignore"):
            left, right = made(one, nothing), made(other, nothing)
            differences = made(one, other), made(other, one)
    except (ValueError, ArithmeticError):  # such as a matrix that is not positive definite
        return False
    known = np.concatenate([np.zeros(1), *[np.ravel(a) for a, moving in zip(
        one, floating, strict=True) if moving]])
    return bool(np.isin(left, known).all() and np.array_equal(differences[0], left - right)
                and np.array_equal(differences[1], right - left))


# ---- one step

class Meter:
    """The cost of each step's rule; steps of one row, with operands of one shape, are counted once.

    Rules run as they are, without the second look at NaN, which would count twice.
    """

    def __init__(self, record: Record) -> None:
        self.rules, self.known = record.rules, dict[Any, Cost]()

    def value(self, step: Step) -> Cost:
        """What the step itself costs."""
        key = ("value", *self.kind(step))
        if key not in self.known:
            body = inner(step)
            self.known[key] = total(body) if body is not None else cost_of(
                step.row, [s.value for s in step.inputs], step.value, step.params)
        return self.known[key]

    def forward(self, step: Step, moving: tuple[bool, ...]) -> Cost:
        """What its tangent costs if these inputs move."""
        def rule(mark: Callable[[Any], Any]) -> Any:
            self.rules.push(step, [mark(np.ones(s.shape, s.dtype)[()]) if m else None
                                   for s, m in zip(step.inputs, moving, strict=True)])
        return self.counted((True, moving), step, rule)

    def reverse(self, step: Step) -> Cost:
        """What pulling its adjoint back costs."""
        def rule(mark: Callable[[Any], Any]) -> Any:
            self.rules.pull(step, mark(np.ones(step.shape, step.dtype)[()]))
        return self.counted((False, tuple(s.differentiated for s in step.inputs)), step, rule)

    def kind(self, step: Step) -> tuple[Any, ...]:
        """What steps have in common that cost the same."""
        return step.row, tuple(s.shape for s in step.inputs), repr(step.params), step.picked

    def counted(self, how: Any, step: Step, rule: Callable[[Callable[[Any], Any]], Any]) -> Cost:
        """The cost of a rule, looked up if it is known."""
        if not isinstance(self.rules, EngineRules):
            return taught(how, step)
        key = (how, *self.kind(step))
        if key not in self.known:
            log: list[Cost] = []
            with Level() as level, np.errstate(all="ignore"), Mode(
                    lambda m: m._replace(strict=True)):
                rule(lambda x: Counted(x, level, log))
            self.known[key] = total(log)
        return self.known[key]


def taught(how: tuple[bool, tuple[bool, ...]], step: Step) -> Cost:
    """What a teaching class costs: a product for each partial, forward also their sum."""
    forward, moving = how
    products = sum(moving) * step.size
    return Cost(products + (forward and products - step.size), products)


def total(costs: Sequence[Cost]) -> Cost:
    """The sum of costs."""
    found = Cost()
    for cost in costs:
        found = found.plus(cost)
    return found


# ---- all steps

def evaluation(record: Record, meter: Meter) -> Cost:
    """What the values cost; the parts of a value that has several are made at once."""
    made = {s if s.picked is None else s.node.inputs[0]: s for s in record.operations}
    return total([meter.value(s) for s in made.values()])


def reverse_pass(e: Explanation, meter: Meter) -> Cost:
    """What one pass back costs, with the sums in which adjoints accumulate."""
    reverse = e.flows.reverse
    found = total([meter.reverse(s) for s in e.record.operations if s in reverse.adjoints])
    return found.plus(Cost(sum(c.target.size for c in reverse.contributions if not c.first)))


def forward_passes(record: Record, meter: Meter) -> Cost:
    """What all passes of forward mode cost, one for each number among the inputs."""
    sizes = [s.size for s in record.inputs]
    reach = {s: 1 << k for k, s in enumerate(record.inputs)}
    found = Cost()
    for step in record.steps:
        if step.kind == OPERATION:
            masks = [reach.get(s, 0) for s in step.inputs]
            for moving, inputs in patterns(masks).items():
                found = found.plus(meter.forward(step, moving), numbers(inputs, sizes))
            reach[step] = joined(masks)
    return found


def joined(masks: Sequence[int]) -> int:
    """The inputs that reach any of several steps."""
    found = 0
    for mask in masks:
        found |= mask
    return found


def patterns(masks: Sequence[int]) -> dict[tuple[bool, ...], int]:
    """Which operands move together, and under which inputs they do."""
    found = {(): joined(masks)}
    for mask in masks:
        found = {(*moving, bool(on)): part for moving, inputs in found.items()
                 for on in (0, 1) if (part := inputs & mask if on else inputs & ~mask)}
    return found


def numbers(inputs: int, sizes: Sequence[int]) -> int:
    """How many numbers some inputs hold."""
    if max(sizes) == 1:
        return inputs.bit_count()
    return sum(size for k, size in enumerate(sizes) if inputs >> k & 1)


@uncollected()
def modes_of(e: Explanation) -> Sheet:
    """Both modes side by side; see `Explanation.modes`."""
    record, meter = e.record, Meter(e.record)
    inputs = sum(s.size for s in record.inputs)
    given = e.flows.cotangent is not None
    outputs = 1 if given else record.output.size
    back = reverse_pass(e, meter)
    lines = [("values", "once", 1, evaluation(record, meter)),
             ("forward", "one per input", inputs,
              forward_passes(record, meter)),
             ("reverse", "one for the cotangent" if given else "one per result", outputs,
              Cost(back.operations * outputs, back.multiplications * outputs))]
    counts = {s.row.name.rpartition(".")[2]: s.row.label.work for s in record.operations
              if s.row.label.work}
    said = [f"{name} counts {work}" for name, work in counts.items()]
    counted = f"For a matrix of m by n (m the larger), k columns beside it, {', '.join(said)}."
    notes = [NOTE, counted] if said else [NOTE]
    columns = [Column("mode"), Column("why"), Column("passes", kind="number"), *[
        Column(f"{what}{key}", what, kind="number", group=group) for group, key in (
            ("in all", ""), ("per pass, on average", " per pass"))
        for what in ("operations", "multiplications")]]
    rows = [[mode, why, passes, *cost, *(each(n, passes) for n in cost)]
            for mode, why, passes, cost in lines]
    return Sheet(f"{record.title}: what each mode costs", columns, rows, notes)


NOTE = ("Each number of an array is an input or a result. Counted are the operations that tangents "
        "and cotangents take part in, on numbers; a matrix product counts its products and its "
        "sums, and moving numbers is free; what is written in no others and has no count "
        "here, such as a sort, counts once for each number. Divisions count as multiplications. "
        "The local partials, the same in both modes, are not counted.")


def each(count: int, passes: int) -> Any:
    """An average; an integer where it is one."""
    if not passes:
        return 0
    return count // passes if count % passes == 0 else count / passes
