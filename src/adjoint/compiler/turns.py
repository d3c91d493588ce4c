"""The statements of a body for all turns at once: each with one more axis in front."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from adjoint.core.node import aval

from .editor import rewritten

if TYPE_CHECKING:
    from collections.abc import Sequence

    from adjoint.ops.loops import Index

    from .editor import Writer
    from .program import Program


def enlarged(known: Any, turns: int) -> Any:
    """The Aval of the values of all turns."""
    return aval((turns, *known.shape), known.dtype)


def deeper(index: Index) -> Index:
    """An index behind one more axis, which it leaves as it is."""
    return ((0, ((0, 1),)), *[(o, tuple([(d + 1, k) for d, k in terms])) for o, terms in index])


class Turns:
    """Writes statements of a body into the Program around it, for all turns or once for them all.

    ``given`` are statements of the outer Program that stand for statements of the body; those of
    ``various`` have the turns as their first axis.
    """

    def __init__(self, writer: Writer, body: Program, count: int, given: dict[int, int],
                 various: set[int]) -> None:
        self.w, self.body, self.count = writer, body, count
        self.found, self.various = dict(given), {*various}
        self.wide: dict[int, int] = {}  # what is the same in all turns, repeated

    def __call__(self, m: int) -> int:
        """A statement of the body in the outer Program; those it reads are written first."""
        waiting = [m]
        while waiting:
            n = waiting[-1]
            missing = [i for i in self.body.statements[n].inputs if i not in self.found]
            if n in self.found:
                waiting.pop()
            elif missing:
                waiting += missing
            else:
                self.write(waiting.pop())
        return self.found[m]

    def each(self, m: int) -> int:
        """A statement with the turns in front, though it may be the same in all of them."""
        n = self(m)
        if m in self.various:
            return n
        if m not in self.wide:
            known = self.body.statements[m].known
            index = tuple([(0, ((d + 1, 1),)) for d in range(len(known.shape))])
            self.wide[m] = self.w.view(n, index, (self.count, *known.shape))
        return self.wide[m]

    def at(self, m: int, t: int) -> int:
        """A statement in one turn."""
        n, shape = self(m), self.body.statements[m].known.shape
        if m not in self.various:
            return n
        return self.w.view(n, ((t, ()), *[(0, ((d, 1),)) for d in range(len(shape))]), shape)

    def write(self, m: int) -> None:
        """One statement, whose operands are written."""
        s = self.body.statements[m]
        if self.various.isdisjoint(s.inputs):
            self.found[m] = rewritten(self.w, self.body, m, self.found)
            return
        self.various.add(m)
        self.found[m] = self.written(m)

    def written(self, m: int) -> int:
        """A statement with the turns in front."""
        name, inputs, parameters, known = self.body.statements[m]
        wide = enlarged(known, self.count)
        if name == "view":
            return self.w.view(self.each(inputs[0]), deeper(parameters[0]), wide.shape)
        if name == "pick":
            x, *indices = inputs
            places = [self.turn(wide.shape, indices)] if x in self.various else []
            return self.w.made(name, (self(x), *places, *map(self.each, indices)), (), wide)
        xs = tuple(map(self.each, inputs))
        if name == "scatter_add":
            x, *indices = xs
            first = self.turn(self.w.known(x).shape, inputs[1:])
            return self.w.made(name, (x, first, *indices), (wide.shape,), wide)
        if name == "reduce":
            op, axes = parameters
            parameters = op, tuple([d + 1 for d in axes])
        elif name == "scan":
            op, axis = parameters
            parameters = op, axis + 1
        elif name == "pad":
            index, shape, fill = parameters
            parameters = deeper(index), (self.count, *shape), fill
        elif name == "copy":
            parameters = (wide.shape,)
        return self.w.made(name, xs, parameters, wide)

    def turn(self, shape: Any, indices: Sequence[int]) -> int:
        """The number of the turn, in a shape that begins with the turns, among such indices."""
        return self.w.iota(shape, 0, self.body.statements[indices[0]].known.dtype)
