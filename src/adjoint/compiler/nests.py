"""The kernel of a group: outer loops, and inside them passes that compute stored statements.

A pass is one nest of loops in which all of its roots are computed at each point. A reduction whose
axes are the innermost loops is carried in registers; so are sums over all outer loops that leave a
row of few registers. Others are combined in memory. What is known once for each turn of the outer
loops stays in a register.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .beside import Beside
from .evaluator import Value
from .loops import COMBINE, WIDENED, identity, start, straight
from .text import constant, register_type

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .evaluator import Place, Steps
    from .loops import Axes
    from .schedule import Group, Pass, Schedule
    from .text import Module

RIDING = 8  # registers of sums that are carried through outer loops
WIDE, NARROW = 96, 192  # operations of a pass from which its values span fewer registers
SEVERAL = 4  # operations from which on the vectors of a turn are computed side by side


class Reduction:
    """A root that reduces: what it combines, where it goes, and how far registers carry it."""

    def __init__(self, nest: Nest, n: int, space: tuple[int, ...], inner: Axes) -> None:
        self.op, reduced = nest.program.statements[n].parameters
        (self.x,) = nest.program.statements[n].inputs
        if nest.flat:
            reduced = (0,)
        self.dtype = nest.known(self.x).dtype
        self.to = tuple([p for d, p in enumerate(straight(space)) if d not in reduced])
        names = {f"i{d}" for d in reduced if space[d] > 1}
        self.first = ""  # the variable of the outermost loop that it is carried through
        for variable, _ in reversed(inner):
            if variable not in names:
                break
            self.first = variable
            names.discard(variable)
        self.partial = bool(names)  # other loops combine it in memory

    @property
    def combine(self) -> str:
        """The method that combines two numbers."""
        return COMBINE[self.op]


class Nest(Beside):
    """The function that computes a group."""

    def __init__(self, schedule: Schedule, group: Group, module: Module, *,
                 vector_bytes: int, checked: bool = False) -> None:
        super().__init__(schedule.program, schedule.stored, module, width=0, checked=checked)
        self.schedule, self.group, self.vector_bytes = schedule, group, vector_bytes
        self.flat, self.depth = group.flat, group.depth
        self.mine = {*group.roots}
        self.computing: set[int] = set()
        self.floor = 0  # the depth at which passes stand one after another
        self.reductions: dict[int, Reduction] = {}
        self.riding: dict[int, str] = {}  # sums that outer loops carry in registers
        self.begin()
        self.write()

    # ---- what is stored where

    def placed(self, n: int) -> tuple[int, ...]:
        """Strides; temporaries have none along the outer axes, but for lanes that are rows."""
        if n in self.schedule.temporaries and self.rows:
            return (1, *[k * self.rows for k in self.strides(self.known(n).shape[1:])])
        if n in self.schedule.temporaries:
            return (0,) * self.depth + self.strides(self.known(n).shape[self.depth:])
        return super().placed(n)

    def extent(self, n: int) -> int:
        """The number of elements of a buffer."""
        return self.schedule.extent(n)

    def steps(self, n: int, place: Place) -> Steps:
        """What this pass computes is computed, even where it is stored."""
        if n in self.computing or (n in self.mine and not self.here(n, place)):
            return self.computed(n, place)
        return super().steps(n, place)

    def here(self, n: int, place: Place) -> bool:
        """Whether a value of this kernel is complete at a place: of this turn of outer loops."""
        shape = self.known(n).shape
        return place[:self.depth] == straight(shape[:self.depth])

    def loaded(self, n: int, place: Place) -> Steps:
        """From memory; what this kernel writes is never read before the turn that writes it."""
        yield from ()
        return self.load(n, place, self.floor if n in self.mine else 0)

    # ---- structure

    def write(self) -> None:
        """All loops."""
        outer: Axes = self.axes(self.group.outer)
        sums, riders = [n for n in self.group.roots if self.schedule.carried(n)], self.riders()
        for n in sums:
            self.reader = n
            if self.rows:
                self.begin_sum(n)
            elif n not in riders:
                op, dtype = self.program.statements[n].parameters[0], self.known(n).dtype
                self.fill_flat(n, start(op, dtype))

        def body(carried: Sequence[str]) -> Sequence[str]:
            self.floor, self.riding = self.writer.depth, dict(zip(riders, carried, strict=True))
            with self.copying():
                for pass_ in self.group.passes:
                    self.write_pass(pass_)
            return [self.riding[n] for n in riders]
        self.vector, self.width = (outer[0][0], self.rows) if self.rows else ("", 0)
        carries: list[tuple[str, str]] = []
        for r, width, _ in riders.values():
            number = constant(start(r.op, r.dtype), r.dtype, width)
            carries.append((register_type(r.dtype, width), number))
        last = self.nest(outer, body, carries)
        for n in sums if self.rows else ():
            self.reader = n
            self.end_sum(n)
        for (n, (r, width, vector)), text in zip(riders.items(), last, strict=True):
            self.reader, self.width, self.vector = n, width, vector
            with self.writer.fixed(self.vector, 0, lanes=True):
                self.store(n, r.to, Value(text, self.writer.depth, bool(width)))

    def riders(self) -> dict[int, tuple[Reduction, int, str]]:
        """The sums that outer loops carry in registers; how many lanes each fills, of which axis.

        What is left of all outer axes is one row, which one turn of its loop computes.
        """
        found: dict[int, tuple[Reduction, int, str]] = {}
        room = RIDING * self.vector_bytes
        for pass_ in () if self.rows else self.group.passes:
            inner = self.axes(pass_.space, self.depth)
            self.across(pass_, inner)
            for n in pass_.roots if not inner or inner == [(self.vector, self.width)] else ():
                if not self.schedule.carried(n):
                    continue
                r = Reduction(self, n, pass_.space, inner)
                size = max(self.width, 1) * r.dtype.itemsize
                if not r.first and r.partial and size <= room and all(
                        terms in ((), ((self.vector, 1),)) for _, terms in r.to):
                    room -= size
                    found[n] = r, self.width, self.vector
        self.vector, self.width = "", 0
        return found

    def across(self, pass_: Pass, inner: Axes) -> None:
        """Let the last of the inner axes of a pass run over lanes."""
        spans = WIDENED if pass_.operations < WIDE else 2 if pass_.operations < NARROW else 1
        self.over_lanes(inner, pass_.itemsize[1], spans)

    def chained(self, pass_: Pass) -> bool:
        """Whether a pass is a long chain of instructions: formulas and more, written in its place.

        A formula alone fills the processor from vector to vector. Sums that ride are wide vectors.
        """
        return pass_.curves > 0 and pass_.operations >= SEVERAL and (
            self.writer.module.inlined and self.riding.keys().isdisjoint(pass_.roots))

    def write_pass(self, pass_: Pass) -> None:
        """One nest of loops."""
        space = pass_.space
        inner = self.axes(space, self.depth)
        reductions = {n: Reduction(self, n, space, inner) for n in pass_.roots
                      if self.program.statements[n].name == "reduce"}
        for n, r in reductions.items():
            if r.partial and not self.schedule.carried(n):
                kept = [a for a in inner if (0, ((a[0], 1),)) in r.to]
                self.reader = n
                self.fill(n, r.to, kept, start(r.op, r.dtype))
        self.computing, self.reductions = {*pass_.roots}, reductions
        if not self.rows:
            self.across(pass_, inner)
            self.abreast = self.chained(pass_)
        self.level(pass_.roots, straight(space), inner, {})
        self.computing, self.abreast = set(), False
        self.back_to_rows()
        if not self.rows:
            self.vector, self.width = "", 0

    def level(self, roots: list[int], place: Place, axes: Axes,
              carried: dict[int, str]) -> dict[int, str]:
        """The loops over ``axes`` with the reductions that they carry; those that go on."""
        if not axes:
            return self.point(roots, place, carried)
        (variable, size), rest = axes[0], axes[1:]
        begun = [n for n, r in self.reductions.items() if r.first == variable]
        names = [*carried, *begun]
        firsts = [*carried.values(), *[self.neutral(self.reductions[n]) for n in begun]]
        types = [register_type(self.reductions[n].dtype, self.width) for n in names]

        def inner(texts: Sequence[str]) -> list[str]:
            after = self.level(roots, place, rest, dict(zip(names, texts, strict=True)))
            return [after[n] for n in names]
        carries = list(zip(types, firsts, strict=True))
        if variable == self.vector:
            texts = self.strips(variable, size, inner, carries)
        else:
            texts = self.turns(variable, (0, size, 1), inner, carries)
        found = dict(zip(names, texts, strict=True))
        for n in begun:
            r = self.reductions[n]
            self.reader = n
            text = self.fold(r.combine, found.pop(n), r.dtype)
            wide = self.vector in self.writer.variables
            self.reduced(n, r, Value(text, self.writer.depth, wide))
        return found

    def neutral(self, r: Reduction) -> str:
        """What a reduction begins with."""
        return self.lanes(r.dtype, 0, bool(self.vector)).constant(start(r.op, r.dtype))

    def point(self, roots: list[int], place: Place, carried: dict[int, str]) -> dict[int, str]:
        """All roots at one point of the space, stored when all are known: one may lie over another.

        What the second is made of may be where the first is stored (`in_place`).
        """
        made: list[tuple[int, Value]] = []
        for n in roots:
            self.reader = n
            r = self.reductions.get(n)
            if r is None:
                value = self.value(n, place)
                if n not in self.schedule.registers:
                    made.append((n, value))
            elif r.first:
                carried[n] = self.combined(r, carried[n], place)
            elif n in self.riding:
                self.riding[n] = self.combined(r, self.riding[n], place)
            else:
                value = self.value(r.x, place)
                self.reduced(n, r, value if r.partial else self.of_one(r, value))
        for n, value in made:
            self.reader = n
            self.store(n, place, value)
        return carried

    def of_one(self, r: Reduction, value: Value) -> Value:
        """A reduction along axes of one element: a sum is 0 and that, which is no -0."""
        if r.op != "add" or r.dtype.kind != "f":
            return value
        at = self.lanes(r.dtype, value.depth, value.wide)
        return value._replace(text=at.add(at.constant(start(r.op, r.dtype)), value.text))

    def combined(self, r: Reduction, before: str, place: Place) -> str:
        """What registers carry, and the value of this point; not in lanes that do not count."""
        factors = self.factors(r, place)
        if factors:
            a, b = [self.seat(self.value(i, place), r.dtype) for i in factors]
            at = self.lanes(r.dtype, self.writer.depth, bool(self.vector))
            more = at.accumulate(a, b, before)
            return at.select(self.mask(), more, before) if self.active else more
        text = self.seat(self.value(r.x, place), r.dtype)
        at = self.lanes(r.dtype, self.writer.depth, bool(self.vector))
        if self.active:
            text = at.select(self.mask(), text, at.constant(identity(r.op, r.dtype)))
        return getattr(at, r.combine)(before, text)

    def factors(self, r: Reduction, place: Place) -> tuple[int, ...]:
        """The operands of a product of floats that is only added up: it is not rounded itself."""
        s = self.program.statements[r.x]
        product = s.name == "elementwise" and s.parameters == ("multiply",)
        if r.op != "add" or not product or r.dtype.kind != "f" or r.x in self.stored or (
                r.x in self.computing or self.recalled(r.x, place) is not None):
            return ()
        return s.inputs if all(self.known(i).dtype == r.dtype for i in s.inputs) else ()

    def reduced(self, n: int, r: Reduction, value: Value) -> None:
        """What the innermost loops have left of a reduction: combined in memory, or the result."""
        depth = self.writer.depth
        if r.partial and self.rows and self.schedule.carried(n):
            self.add_rows(n, r.to, value, r.op, r.dtype)
            return
        if r.partial:
            old = self.load(n, r.to, depth)
            (a, b), _, wide = self.joined([(old, r.dtype), (value, r.dtype)])
            at = self.lanes(r.dtype, depth, wide)
            self.store(n, r.to, Value(getattr(at, r.combine)(a, b), depth, wide))
            return
        self.kept(n, r.to, value)
        if n not in self.schedule.registers:
            self.store(n, r.to, value)

