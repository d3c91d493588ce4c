"""Reverse mode: Tracked (a Box with a Node) and the sweep.

`Tracked.interpret` is the whole story of recording. ``ops/flat.py`` tells it again for one and two
arguments, flat, because that runs on every operation; a test holds the two against each other.
"""

from __future__ import annotations

from itertools import accumulate, groupby
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from adjoint.errors import GraphError, RuleError

from .box import Box, Level, bind
from .careful import factor, has_nan, released
from .node import MODES, NO_PARAMS, Node, aval_of, constant, ndarray, new, node
from .primitive import CONSTANT, REGISTRY, Primitive

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

by_index = attrgetter("index")
ONE, BOTH, FIRST, SECOND = (True,), (True, True), (True, False), (False, True)
FEW, PARTS, LITTLE = 8, 8, 1 << 20  # steps, parts of a long sweep, bytes worth a part
SAMPLE = 7  # one in so many steps, out of step with the layers of a network
NOTHING = ()  # the inputs of leaves and constants; there is but one empty tuple


class Tracked(Box):
    """A value that remembers how it was made; ``node`` is None if no gradient is asked of it."""

    __slots__ = ("node",)
    node: Node | None

    def interpret(self, row: Primitive, args: Sequence[Any], params: dict[str, Any]) -> Any:
        """Apply ``row`` one level down and record the step."""
        level, modes = self.level, MODES.get()
        mine = [isinstance(a, Tracked) and a.level == level for a in args]
        lower = [a.value if m else a for a, m in zip(args, mine, strict=True)]
        nodes: list[Any] = [a.node if m else None for a, m in zip(args, mine, strict=True)]
        value = bind(row, lower, params)
        if row.vjp is None or not any(nodes) or level < modes.paused:
            return tracked(self.__class__, value, level, None)
        everything = bool(modes.tapes)
        for i, (n, v) in enumerate(zip(nodes, lower, strict=True)):
            keep = everything or row.kept(i)
            if n is None:
                nodes[i] = constant(v, keep or modes.whole, owned=mine[i])
            elif keep:
                n.value = v
        keep = everything or "y" in row.keeps
        n = node(row, tuple(nodes), params, value if keep else None, aval_of(value))
        n.site = modes.site() if modes.site is not None else None
        for tape in modes.tapes:
            tape.append(n)
        return tracked(self.__class__, value, level, n)

    def shares(self, base: Tracked) -> None:
        """Note that this value may share the memory of ``base``: a row with ``alias`` made it."""


def tracked(cls: type[Any], value: Any, level: int, n: Node | None) -> Any:
    """A Tracked value, without its constructor."""
    y = new(cls)
    y.value, y.level, y.node = value, level, n
    y.aval = n.aval if n is not None else aval_of(value)
    return y


def steps(nodes: Iterable[Node]) -> list[Node]:
    """The steps that ``nodes`` depend on, themselves included, newest first."""
    found = [n for n in nodes if n.inputs is not NOTHING]
    seen = set(found)
    for n in found:  # which grows, hardly out of order
        if n.inputs is None:
            raise GraphError(f"the graph behind {n.prim} was freed by an earlier backward(). Pass "
                             "retain_graph=True to that one, or compute the result again.")
        for source in n.inputs:
            if source.inputs is not NOTHING and source not in seen:
                seen.add(source)
                found.append(source)
    found.sort(key=by_index, reverse=True)
    return found


def order(nodes: Sequence[Node]) -> list[Node]:
    """The steps that ``nodes`` depend on, and the leaves and constants they began with."""
    found = steps(nodes)
    every = dict.fromkeys((*nodes, *found, *(source for n in found for source in n.inputs)))
    return sorted(every, key=by_index, reverse=True)  # constants, which tie, in a fixed order


def sweep(seeds: Mapping[Node, Any], retain: bool = False,
          record: tuple[type[Any], int] | None = None) -> dict[Any, Any]:
    """Walk the graph newest first with one buffer of cotangents; return {leaf: cotangent}.

    ``seeds`` is {node: cotangent}. With ``record`` (a Tracked class and its level) the rules run on
    Boxes, so that the sweep is itself recorded and can be differentiated again. If a NaN comes out,
    the walk is done once more with care (`core/careful.py`): it may have been 0 * inf. In a trace,
    where nobody can look, it is done with care at once. Long sweeps go by stretches, which are
    freed as soon as they are known to be right.
    """
    nodes, strict = steps(seeds), MODES.get().strict
    found, answers, see = dict(seeds), None if strict else {}, seen_as(record)
    blind = MODES.get().trace is not None and not strict
    for part in (nodes,) if retain or len(nodes) < FEW else stretches(nodes):
        before = found
        found = None if blind else walk(part, before, see, record is None, answers)
        if found is None or (not strict and any(
                has_nan(dy) for n, dy in found.items() if dy is not before.get(n))):
            with Level() as level:
                held = {n: factor(dy, level, downstream=True) for n, dy in before.items()}
                held = walk(part, held, see, False, answers, level) or {}
                found = {n: released(dy, level) for n, dy in held.items()}
        for n in () if retain else part:
            n.value = n.inputs = None  # pyright: ignore[reportAttributeAccessIssue] - freed
    return found


def stretches(nodes: Sequence[Node]) -> list[list[Node]]:
    """``nodes`` in parts, to be freed one by one; all in one where a sample holds little memory."""
    def held(some: Sequence[Node]) -> list[int]:
        return [n.value.nbytes if n.value.__class__ is ndarray else 0 for n in some]
    if SAMPLE * sum(held(nodes[::SAMPLE])) < LITTLE:
        return [list(nodes)]
    limit, sums = max(LITTLE, sum(sizes := held(nodes)) // PARTS), accumulate(sizes)
    return [list(part) for _, part in groupby(nodes, lambda _: next(sums) // limit)]


def walk(nodes: Sequence[Node], seeds: Mapping[Node, Any], see: Any, flat: bool,
         answers: dict[Node, Any] | None, level: int = 0) -> dict[Any, Any] | None:
    """One pass over the steps ``nodes``; what is left in the buffer is that of the leaves.

    A cotangent that two paths reach is summed in the order of the pass. A structural zero is None
    and never an array. ``flat`` writes one and two arguments out. What users' functions gave is
    kept in ``answers``, so that they are called once; a plain walk that would show them a NaN ends
    there, with None. ``level`` is that of the Factors in a careful walk.
    """
    buffer, owned = dict(seeds), set[Node]()
    get, take = buffer.get, buffer.pop
    for n in nodes:
        dy = take(n, None)
        if dy is None:
            continue
        row, inputs, here = n.prim, n.inputs, n.aval
        arity = len(inputs) if flat else 3
        if n.params is not NO_PARAMS and (arity == 2 or row.effects == "callback"):
            arity = 3
        if arity == 2:  # one and two arguments written out: a quarter faster than the loop below
            a, b = inputs
            x, z = a.aval if a.value is None else a.value, b.aval if b.value is None else b.value
            needs = SECOND if a.prim is CONSTANT else FIRST if b.prim is CONSTANT else BOTH
            dx, dz = row.vjp(dy, n.value, x, z, needs)
            if dx is not None:
                dx = dx if a.aval is here else fit(dx, a.aval, row)
                buffer[a] = dx if (y := get(a)) is None else plus(y, dx, a, owned)
            if dz is not None:
                dz = dz if b.aval is here else fit(dz, b.aval, row)
                buffer[b] = dz if (y := get(b)) is None else plus(y, dz, b, owned)
        elif arity == 1:
            (a,) = inputs
            x = a.aval if a.value is None else a.value
            (dx,) = row.vjp(dy, n.value, x, ONE) if n.params is NO_PARAMS else row.vjp(
                dy, n.value, x, ONE, **n.params)
            if dx is not None:
                dx = dx if a.aval is here else fit(dx, a.aval, row)
                buffer[a] = dx if (y := get(a)) is None else plus(y, dx, a, owned)
        else:
            parts = pull(n, dy, see, answers, level)
            if parts is None:
                return None
            for source, part in zip(inputs, parts, strict=True):
                if part is not None and source.prim is not CONSTANT:
                    a, dx = source, fit(part, source.aval, row)
                    buffer[a] = dx if (y := get(a)) is None else plus(y, dx, a, owned)
    return buffer


def pull(n: Node, dy: Any, see: Any, answers: dict[Node, Any] | None, level: int) -> Any:
    """The part of ``dy`` for each input of ``n``; of a user's function, which is called once.

    It never sees a Factor, and no NaN of a plain walk: None says that there is one.
    """
    xs = see(n), *map(see, n.inputs), tuple([i.prim is not CONSTANT for i in n.inputs])
    if n.prim.effects != "callback" or answers is None:
        return n.prim.vjp(dy, *xs, **n.params)
    if not level and has_nan(dy):
        return None
    if n not in answers:
        answers[n] = n.prim.vjp(released(dy, level), *xs, **n.params)
    return factor(answers[n], level, downstream=True) if level else answers[n]


def plus(before: Any, part: Any, source: Node, owned: set[Node]) -> Any:
    """One more cotangent of ``source``, added in place where the walk made the sum itself."""
    if part.__class__ is ndarray and source in owned:
        before += part
        return before
    if (total := before + part).__class__ is ndarray:
        owned.add(source)
    return total


def seen_as(record: tuple[type[Any], int] | None) -> Any:
    """How a rule sees a Node: its value (a Box in a recorded sweep), or its Aval if not kept."""
    if record is None:
        return lambda n: n.aval if n.value is None else n.value
    cls, level = record
    return lambda n: n.aval if n.value is None else n.value if n.prim is CONSTANT else tracked(
        cls, n.value, level, n)


def fit(part: Any, known: Any, row: Primitive) -> Any:
    """Undo broadcasting and promotion: the cotangent of x has the shape and dtype of x."""
    if known.__class__ is tuple:
        return part
    if part.shape != known.shape:
        if not row.elementwise:
            raise RuleError(f"the vjp of {row} gave shape {part.shape} for an argument of shape "
                            f"{known.shape}")
        row, params = REGISTRY["sum_to"], {"shape": known.shape}
        part = row.impl(part, **params) if part.__class__ is ndarray else bind(row, (part,), params)
    if part.dtype != known.dtype:
        part = bind(REGISTRY["cast"], (part,), {"dtype": known.dtype})
    return part
