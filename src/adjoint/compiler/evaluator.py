"""One evaluator: the value of a statement at an index, whether the statement is stored or not.

An index has one entry for each axis of the statement, ``(offset, ((variable, step), ...))``, affine
in the variables of the Writer. A view substitutes; an element-by-element statement asks its
operands at the same index; what is stored is loaded at ``sum(stride * index)``. So choosing what is
stored is all that fusion has to do. One variable may run over lanes: a value that depends on it is
a vector, any other a plain number, computed outside the loops that it does not depend on.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .functions_ir import column, loop_dtype
from .registers import BOOL, INT64, Lanes
from .text import Variable, Writer, constant, memory_type, positions, register_type, suffix
from .views import substituted

if TYPE_CHECKING:
    from collections.abc import Generator

    from .program import Program
    from .text import Module

    Entry = tuple[int, tuple[tuple[str, int], ...]]
    Place = tuple[Entry, ...]
    Steps = Generator[tuple[int, Place], "Value", "Value"]

CHECKS, RANGES = 1, 2  # what a failure code says, in its lowest bits, below the buffer


class Value(NamedTuple):
    """A value in a register: its name, the loop that it belongs to, and whether it is a vector."""

    text: str
    depth: int
    wide: bool = False


class Address(NamedTuple):
    """A place in a buffer: the offset of the first lane, and how the other lanes follow.

    ``step`` is their distance; 0 for a plain number. ``lanes`` are all offsets where they are
    known by a vector only.
    """

    offset: str
    depth: int
    step: int
    lanes: str


def strides_of(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The strides, in elements, of an array in C order.

    >>> from adjoint.compiler.evaluator import strides_of
    >>> strides_of((2, 3, 4))
    (12, 4, 1)
    """
    return tuple([prod(shape[d + 1:]) for d in range(len(shape))])


class Evaluator:
    """Values of the statements of a program, inside one function."""

    def __init__(self, program: Program, stored: set[int], module: Module, *, width: int,
                 checked: bool = False) -> None:
        self.program, self.stored, self.width, self.checked = program, stored, width, checked
        self.writer = Writer(module)
        self.buffers: dict[int, int] = {}
        # What failure codes speak of: the statement that was left, and the one that left it.
        self.subjects: dict[tuple[int, int], int] = {}
        self.reader = -1    # the stored statement that is being computed
        self.flat = False   # whether shapes are read as one axis
        self.vector = ""    # the variable that runs over lanes
        self.active = 0     # the number of lanes that count; 0 for all

    # ---- what is known of a statement

    def known(self, n: int) -> Any:
        """Its Aval."""
        return self.program.statements[n].known

    def shape(self, n: int) -> tuple[int, ...]:
        """Its shape, or its size where the kernel runs over flat memory."""
        shape = self.known(n).shape
        return (prod(shape),) if self.flat and shape else shape

    def strides(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The strides of a buffer read as ``shape``."""
        return strides_of(shape)

    def buffer(self, n: int) -> str:
        """The pointer to a stored statement."""
        return f"%b{self.buffers.setdefault(n, len(self.buffers))}"

    def placed(self, n: int) -> tuple[int, ...]:
        """The strides of the buffer of a statement, along the axes that it is read by."""
        return self.strides(self.shape(n))

    def extent(self, n: int) -> int:
        """The number of elements of the buffer of a statement."""
        return prod(self.known(n).shape)

    def code(self, n: int, what: int, reader: int | None = None) -> int:
        """What the function returns where an index of a statement or its buffer is outside."""
        subject = n, self.reader if reader is None else reader
        return (self.subjects.setdefault(subject, len(self.subjects)) + 1) * 4 + what

    def lanes(self, dtype: Any, depth: int, wide: bool) -> Lanes:
        """Arithmetic at a place."""
        return Lanes(self.writer, depth, self.width if wide else 0, dtype)

    def mask(self) -> str:
        """The lanes that count, as a constant."""
        truths = ["true" if k < (self.active or self.width) else "false"
                  for k in range(self.width)]
        return "<" + ", ".join(f"i1 {t}" for t in truths) + ">"

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

    def wide(self, value: Value, dtype: Any) -> Value:
        """A plain number in every lane."""
        if value.wide:
            return value
        memo = self.writer.blocks[value.depth].memo
        key = ("splat", value.text, dtype, self.width)
        if key not in memo:
            memo[key] = self.lanes(dtype, value.depth, True).splat(value.text)
        return Value(memo[key], value.depth, True)

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
        at = self.position(place[axis])
        return at._replace(text=self.lanes(INT64, at.depth, at.wide).cast(at.text, dtype))

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
        """An index entry from a number that was loaded, which must be in range."""
        at = self.lanes(dtype, value.depth, value.wide)
        text = at.cast(value.text, INT64)
        whole = at.of(INT64)
        # Unsigned numbers compare negative ones as large.
        inside = whole.put(f"icmp ult {whole.type} {text}, {whole.constant(size)}")
        self.demand(inside, value.depth, value.wide, code)
        return self.named(Value(text, value.depth, value.wide))

    def named(self, value: Value) -> Entry:
        """A variable of the given value."""
        self.writer.variables[value.text] = Variable(*value)
        return 0, ((value.text, 1),)

    # ---- places in memory

    def offset(self, terms: dict[str, int], start: int) -> tuple[str, int]:
        """``start + sum(step * variable)`` of plain variables, in the loops that they belong to."""
        w, text, depth = self.writer, str(start), 0
        for name, step in sorted(terms.items(), key=lambda t: (w.variables[t[0]].depth, t[0])):
            at = w.variables[name]
            if at.text.lstrip("-").isdigit():
                term = str(int(at.text) * step)
            else:
                term = at.text if step == 1 else w.once(at.depth, f"mul nsw i64 {at.text}, {step}")
            depth = max(depth, at.depth)
            if text.lstrip("-").isdigit() and term.lstrip("-").isdigit():
                text = str(int(text) + int(term))
            else:
                text = term if text == "0" else w.once(depth, f"add nsw i64 {text}, {term}")
        return text, depth

    def address(self, place: Place, strides: tuple[int, ...]) -> Address:
        """``sum(stride * index)``."""
        start, terms = 0, dict[str, int]()
        for (first, parts), stride in zip(place, strides, strict=True):
            start += first * stride
            for name, step in parts:
                terms[name] = terms.get(name, 0) + step * stride
        variables = self.writer.variables
        terms = {name: step for name, step in terms.items() if step}
        loaded = {name: step for name, step in terms.items()
                  if variables[name].lanes and name != self.vector}
        plain = {name: step for name, step in terms.items() if name not in loaded}
        offset, depth = self.offset(plain, start)
        step = plain.get(self.vector, 0) if self.vector else 0
        if not loaded and step in {0, 1}:
            return Address(offset, depth, step, "")
        return self.spread(offset, depth, step, loaded)

    def spread(self, offset: str, depth: int, step: int, loaded: dict[str, int]) -> Address:
        """An address with an offset for each lane."""
        depth = max([depth, *[self.writer.variables[name].depth for name in loaded]])
        at = self.lanes(INT64, depth, True)
        lanes = at.splat(offset)
        if step:
            lanes = at.add(lanes, positions(self.width, step))
        for name, stride in loaded.items():
            lanes = at.add(lanes, at.multiply(name, at.constant(stride)))
        return Address(offset, depth, step, lanes)

    def position(self, entry: Entry) -> Value:
        """The number that an index entry stands for."""
        at = self.address((entry,), (1,))
        if at.lanes:
            return Value(at.lanes, at.depth, True)
        if at.step:
            lanes = self.lanes(INT64, at.depth, True)
            return Value(lanes.add(lanes.splat(at.offset), positions(self.width)), at.depth, True)
        return Value(at.offset, at.depth)

    # ---- memory

    def load(self, n: int, place: Place, depth: int = 0) -> Value:
        """An element of a buffer, or one for each lane; not outside of the loop at ``depth``."""
        dtype = self.known(n).dtype
        at = self.address(place, self.placed(n))
        at = at._replace(depth=max(at.depth, depth))
        self.bounds(n, at)
        wide = bool(at.lanes or at.step)
        type_ = memory_type(dtype, self.width if wide else 0)
        pointer = self.pointer(n, at, memory_type(dtype))
        if at.lanes or (wide and self.active):
            text = self.masked_load(type_, pointer, at, dtype.itemsize)
        else:
            text = self.writer.put(at.depth, f"load {type_}, ptr {pointer}, align {dtype.itemsize}")
        if dtype.kind == "b":
            text = self.writer.put(at.depth, f"icmp ne {type_} {text}, "
                                   + constant(0, np.dtype(np.uint8), self.width if wide else 0))
        return Value(text, at.depth, wide)

    def pointer(self, n: int, at: Address, type_: str) -> str:
        """The address as a pointer, or as one for each lane."""
        base = self.buffer(n)
        if at.lanes:
            return self.writer.put(at.depth, f"getelementptr {type_}, ptr {base}, "
                                   f"<{self.width} x i64> {at.lanes}")
        return self.writer.once(at.depth, f"getelementptr {type_}, ptr {base}, i64 {at.offset}")

    def masked_load(self, type_: str, pointer: str, at: Address, align: int) -> str:
        """A load of the lanes that count; 0 in the others."""
        name, pointers = "load", "ptr"
        full = f"llvm.masked.load.{suffix(type_)}.p0"
        if at.lanes:
            name, pointers = "gather", f"<{self.width} x ptr>"
            full = f"llvm.masked.{name}.{suffix(type_)}.v{self.width}p0"
        truths = f"<{self.width} x i1>"
        self.writer.module.declare(full, type_, pointers, "i32", truths, type_)
        return self.writer.put(at.depth, f"call {type_} @{full}({pointers} {pointer}, i32 {align}, "
                               f"{truths} {self.mask()}, {type_} zeroinitializer)")

    def store(self, n: int, place: Place, value: Value,
              strides: tuple[int, ...] | None = None) -> None:
        """Write an element of a buffer, or one for each lane."""
        dtype, depth = self.known(n).dtype, self.writer.depth
        at = self.address(place, self.placed(n) if strides is None else strides)
        at = at._replace(depth=depth)
        self.bounds(n, at)
        wide = bool(at.lanes or at.step)
        text = self.wide(value, dtype).text if wide else value.text
        type_ = memory_type(dtype, self.width if wide else 0)
        if dtype.kind == "b":
            from_ = register_type(dtype, self.width if wide else 0)
            text = self.writer.put(depth, f"zext {from_} {text} to {type_}")
        pointer = self.pointer(n, at, memory_type(dtype))
        if at.lanes or (wide and self.active):
            self.masked_store(type_, text, pointer, at, dtype.itemsize)
        else:
            self.writer.do(depth, f"store {type_} {text}, ptr {pointer}, align {dtype.itemsize}")

    def masked_store(self, type_: str, text: str, pointer: str, at: Address, align: int) -> None:
        """A store of the lanes that count."""
        full, pointers = f"llvm.masked.store.{suffix(type_)}.p0", "ptr"
        if at.lanes:
            pointers = f"<{self.width} x ptr>"
            full = f"llvm.masked.scatter.{suffix(type_)}.v{self.width}p0"
        truths = f"<{self.width} x i1>"
        self.writer.module.declare(full, "void", type_, pointers, "i32", truths)
        self.writer.do(at.depth, f"call void @{full}({type_} {text}, {pointers} {pointer}, "
                       f"i32 {align}, {truths} {self.mask()})")

    # ---- what the debug build checks

    def bounds(self, n: int, at: Address) -> None:
        """In a checked build, leave unless every lane that counts is inside the buffer."""
        if not self.checked:
            return
        extent, code = self.extent(n), self.code(n, CHECKS)
        if at.lanes:
            whole = self.lanes(INT64, at.depth, True)
            inside = whole.put(f"icmp ult {whole.type} {at.lanes}, {whole.constant(extent)}")
            self.demand(inside, at.depth, True, code)
            return
        w, last = self.writer, (self.active or self.width) - 1 if at.step else 0
        ends = [at.offset]
        if last:
            ends.append(w.once(at.depth, f"add i64 {at.offset}, {last}"))
        for end in ends:
            w.demand(at.depth, w.once(at.depth, f"icmp ult i64 {end}, {extent}"), code)

    def demand(self, condition: str, depth: int, wide: bool, code: int) -> None:
        """Leave the function unless a condition holds in every lane that counts."""
        truth = self.lanes(BOOL, depth, wide)
        if wide:
            if self.active:
                rest = truth.invert(self.mask())
                condition = truth.binary("or", condition, rest)
            full = f"llvm.vector.reduce.and.{suffix(truth.type)}"
            self.writer.module.declare(full, "i1", truth.type)
            condition = truth.put(f"call i1 @{full}({truth.type} {condition})")
        self.writer.demand(depth, condition, code)
