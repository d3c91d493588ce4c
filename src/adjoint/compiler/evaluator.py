"""One evaluator: the value of a statement at an index, whether the statement is stored or not.

An index has one entry for each axis of the statement, ``(offset, ((variable, step), ...))``, affine
in the variables of the Writer. A view substitutes; an element-by-element statement asks its
operands at the same index; what is stored is loaded at ``sum(stride * index)``. So choosing what is
stored is all that fusion has to do. One variable may run over lanes: a value that depends on it is
a vector, any other a plain number, computed outside the loops that it does not depend on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .functions_ir import column, loop_dtype
from .memory import CHECKS, RANGES, Address, Memory, Value, strides_of
from .registers import BOOL, INT64
from .text import constant, positions
from .views import substituted

if TYPE_CHECKING:
    from collections.abc import Generator

    from .memory import Entry, Place

    Steps = Generator[tuple[int, Place], Value, Value]

__all__ = ["CHECKS", "RANGES", "Address", "Evaluator", "Value", "strides_of"]


class Evaluator(Memory):
    """Values of the statements of a program, inside one function."""

    # ---- values

    def value(self, n: int, place: Place) -> Value:
        """The value of a statement at an index; without recursion, however long the chain is."""
        found = self.recalled(n, place)
        if found is not None:
            return found
        waiting = [(n, place, self.steps(n, place))]
        answer: Value | None = None
        while True:
            n, place, steps = waiting[-1]
            try:
                wanted = steps.send(answer) if answer is not None else next(steps)
            except StopIteration as end:
                answer = self.kept(n, place, end.value)
                waiting.pop()
                if not waiting:
                    return answer
            else:
                answer = self.recalled(*wanted)
                if answer is None:
                    waiting.append((*wanted, self.steps(*wanted)))

    def recalled(self, n: int, place: Place) -> Value | None:
        """The value, where an open loop has computed it."""
        for block in self.writer.blocks[::-1]:
            if (n, place) in block.memo:
                return block.memo[n, place]
        return None

    def kept(self, n: int, place: Place, value: Value) -> Value:
        """The value, remembered in the loop that it belongs to."""
        self.writer.blocks[value.depth].memo[n, place] = value
        return value

    def steps(self, n: int, place: Place) -> Steps:
        """How a value comes about: a generator that asks for the values that it needs."""
        if n in self.stored:
            return self.loaded(n, place)
        return self.computed(n, place)

    def loaded(self, n: int, place: Place) -> Steps:
        """From memory."""
        yield from ()
        return self.load(n, place)

    def computed(self, n: int, place: Place) -> Steps:
        """From the operands."""
        return getattr(self, "of_" + self.program.statements[n].name)(n, place)

    def joined(self, values: list[tuple[Value, Any]]) -> tuple[list[str], int, bool]:
        """Values of one statement: all vectors or none, and the depth where all are known."""
        wide = any(v.wide for v, _ in values)
        depth = max([v.depth for v, _ in values], default=0)
        return [(self.wide(v, d) if wide else v).text for v, d in values], depth, wide

    # ---- statements that need no memory of their own

    def of_elementwise(self, n: int, place: Place) -> Steps:
        """A scalar function, in the dtype of NumPy's loop."""
        s = self.program.statements[n]
        values: list[tuple[Value, Any]] = []
        for i in s.inputs:
            x = yield i, place
            values.append((x, self.known(i).dtype))
        texts, depth, wide = self.joined(values)
        function, dtype = s.parameters[0], values[0][1]
        inner, write = loop_dtype(function, dtype), column(function, dtype)[function]
        at = self.lanes(dtype, depth, wide)
        return Value(write(at.of(inner), *[at.cast(t, inner) for t in texts]), depth, wide)

    def of_cast(self, n: int, place: Place) -> Steps:
        """Another dtype."""
        s = self.program.statements[n]
        x = yield s.inputs[0], place
        at = self.lanes(self.known(s.inputs[0]).dtype, x.depth, x.wide)
        return x._replace(text=at.cast(x.text, s.known.dtype))

    def of_select(self, n: int, place: Place) -> Steps:
        """One of two, both computed."""
        s = self.program.statements[n]
        values: list[tuple[Value, Any]] = []
        for i in s.inputs:
            x = yield i, place
            values.append((x, self.known(i).dtype))
        texts, depth, wide = self.joined(values)
        return Value(self.lanes(s.known.dtype, depth, wide).select(*texts), depth, wide)

    def of_view(self, n: int, place: Place) -> Steps:
        """The operand at another index."""
        s = self.program.statements[n]
        return (yield s.inputs[0], self.seen(s.parameters[0], place))

    def seen(self, index: Any, place: Any) -> Any:
        """An index expression of a view, at an index."""
        return tuple([substituted(entry, place) for entry in index])

    def of_const(self, n: int, place: Place) -> Steps:
        """A number that is written into the code."""
        yield from ()
        value = self.program.constants[self.program.statements[n].parameters[0]]
        return Value(constant(value, self.known(n).dtype), 0)

    def of_iota(self, n: int, place: Place) -> Steps:
        """The index itself."""
        _, axis, dtype = self.program.statements[n].parameters
        yield from ()
        first = self.address((place[axis],), (1,))
        if dtype.kind in "iu" and first.step and not first.lanes:  # counted as what is wanted
            lanes = self.lanes(dtype, first.depth, True)
            start = self.lanes(INT64, first.depth, False).cast(first.offset, dtype)
            text = lanes.add(lanes.splat(start), positions(self.width, 1, dtype))
            return Value(text, first.depth, True)
        at = self.position(place[axis])
        return at._replace(text=self.lanes(INT64, at.depth, at.wide).cast(at.text, dtype))

    def of_pad(self, n: int, place: Place) -> Steps:
        """The operand where it reaches, else the fill value."""
        s = self.program.statements[n]
        (x,), (index, shape, fill) = s.inputs, s.parameters
        sizes = self.known(x).shape
        entries: list[Entry] = [(0, ())] * len(sizes)
        truths: list[tuple[Value, Any]] = []
        for (offset, terms), entry, total in zip(index, place, shape, strict=True):
            size = sizes[terms[0][0]] if terms else 1
            if size != total:
                entry, truth = self.inside((entry[0] - offset, entry[1]), size)
                truths.append((truth, BOOL))
            if terms:
                entries[terms[0][0]] = entry
        value = yield x, tuple(entries)
        if not truths:
            return value
        texts, depth, wide = self.joined(truths)
        at = self.lanes(BOOL, depth, wide)
        for text in texts[1:]:
            texts[0] = at.binary("and", texts[0], text)
        values = [(Value(texts[0], depth, wide), BOOL), (value, s.known.dtype),
                  (Value(constant(fill, s.known.dtype), 0), s.known.dtype)]
        texts, depth, wide = self.joined(values)
        return Value(self.lanes(s.known.dtype, depth, wide).select(*texts), depth, wide)

    def of_pick(self, n: int, place: Place) -> Steps:
        """The operand at an index that is loaded, and always checked: it comes from the user."""
        x, *rest = self.program.statements[n].inputs
        entries: list[Entry] = []
        for i, size in zip(rest, self.known(x).shape, strict=True):
            index = self.program.statements[i]
            if index.name == "iota" and index.known.shape[index.parameters[1]] <= size:
                entries.append(place[index.parameters[1]])
                continue
            entries.append(self.dynamic((yield i, place), self.known(i).dtype, size,
                                        self.code(x, RANGES, n)))
        return (yield x, tuple(entries))

    def dynamic(self, value: Value, dtype: Any, size: int, code: int) -> Entry:
        """An index entry from a number that was loaded, which must be in range.

        Along an axis of size 1 that is 0, spelled as everywhere: what is known there is found.
        """
        at = self.lanes(dtype, value.depth, value.wide)
        text = at.cast(value.text, INT64)
        whole = at.of(INT64)
        # Unsigned numbers compare negative ones as large.
        inside = whole.put(f"icmp ult {whole.type} {text}, {whole.constant(size)}")
        self.demand(inside, value.depth, value.wide, code)
        return (0, ()) if size == 1 else self.named(Value(text, value.depth, value.wide))
