"""Loads and stores at index expressions: where an element is, and how many lanes of it count.

An index has one entry for each axis, ``(offset, ((variable, step), ...))``, affine in the variables
of the Writer. One variable may run over lanes; others may stand for a number that was loaded, or
for a whole vector of them. A *guard* is the variable of the lanes again, of which only some count.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .registers import BOOL, INT64, Lanes
from .text import Variable, Writer, constant, memory_type, positions, register_type, suffix

if TYPE_CHECKING:
    from .program import Program
    from .text import Module

    Entry = tuple[int, tuple[tuple[str, int], ...]]
    Place = tuple[Entry, ...]

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
    mask: str = ""  # the lanes that a guard lets count
    even: bool = False  # whether lanes follow one another at the distance


def strides_of(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The strides, in elements, of an array in C order.

    >>> from adjoint.compiler.evaluator import strides_of
    >>> strides_of((2, 3, 4))
    (12, 4, 1)
    """
    return tuple([prod(shape[d + 1:]) for d in range(len(shape))])


class Memory:
    """The buffers of a program, inside one function."""

    def __init__(self, program: Program, stored: set[int], module: Module, *, width: int,
                 checked: bool = False) -> None:
        self.program, self.stored, self.width, self.checked = program, stored, width, checked
        self.writer = Writer(module)
        self.buffers: dict[int, int] = {}
        # What failure codes speak of: the statement that was left, and the one that left it.
        self.subjects: dict[tuple[int, int], int] = {}
        self.reader = -1    # the stored statement that is being computed
        self.inlining = True  # whether a product may write long formulas where they are used
        self.flat = False   # whether shapes are read as one axis
        self.vector = ""    # the variable that runs over lanes
        self.active = 0     # the number of lanes that count; 0 for all
        self.guards: dict[str, str] = {}  # variables that are the lanes, and which of them count

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

    def mask(self, at: Address | None = None) -> str:
        """The lanes that count: a constant, unless an address says more."""
        truths = ["true" if k < (self.active or self.width) else "false"
                  for k in range(self.width)]
        text = "<" + ", ".join(f"i1 {t}" for t in truths) + ">"
        if at is None or not at.mask:
            return text
        if not self.active:
            return at.mask
        return self.lanes(BOOL, at.depth, True).binary("and", at.mask, text)

    # ---- values

    def wide(self, value: Value, dtype: Any) -> Value:
        """A plain number in every lane."""
        if value.wide:
            return value
        memo = self.writer.blocks[value.depth].memo
        key = ("splat", value.text, dtype, self.width)
        if key not in memo:
            memo[key] = self.lanes(dtype, value.depth, True).splat(value.text)
        return Value(memo[key], value.depth, True)

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
        guards = [name for name in terms if name in self.guards]
        if guards:
            return self.guarded(terms, start, guards)
        terms = {name: step for name, step in terms.items() if step}
        loaded = {name: step for name, step in terms.items()
                  if variables[name].lanes and name != self.vector}
        plain = {name: step for name, step in terms.items() if name not in loaded}
        offset, depth = self.offset(plain, start)
        step = plain.get(self.vector, 0) if self.vector else 0
        if not loaded and step in {0, 1}:
            return Address(offset, depth, step, "")
        return self.spread(offset, depth, step, loaded)

    def guarded(self, terms: dict[str, int], start: int, guards: list[str]) -> Address:
        """The same with guards in it."""
        depth = max(self.writer.variables[name].depth for name in guards)
        masks = [self.guards[name] for name in guards]
        for name in guards:
            terms[self.vector] = terms.get(self.vector, 0) + terms.pop(name)
        place = (start, tuple(terms.items()))
        at = self.address((place,), (1,))
        depth = max(depth, at.depth)
        if not at.step and not at.lanes:
            at = self.spread(at.offset, depth, 0, {})
        truth, mask = self.lanes(BOOL, depth, True), masks[0]
        for more in masks[1:]:
            mask = truth.binary("and", mask, more)
        return at._replace(depth=depth, mask=mask)

    def spread(self, offset: str, depth: int, step: int, loaded: dict[str, int]) -> Address:
        """An address with an offset for each lane."""
        depth = max([depth, *[self.writer.variables[name].depth for name in loaded]])
        at = self.lanes(INT64, depth, True)
        lanes = at.splat(offset)
        if step:
            lanes = at.add(lanes, positions(self.width, step))
        for name, stride in loaded.items():
            lanes = at.add(lanes, at.multiply(name, at.constant(stride)))
        return Address(offset, depth, step, lanes, even=not loaded)

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

    def load(self, n: int, place: Place, depth: int = 0,
             strides: tuple[int, ...] | None = None) -> Value:
        """An element of a buffer, or one for each lane; not outside of the loop at ``depth``."""
        dtype = self.known(n).dtype
        at = self.address(place, self.placed(n) if strides is None else strides)
        at = at._replace(depth=max(at.depth, depth))
        self.bounds(n, at)
        wide = bool(at.lanes or at.step)
        type_ = memory_type(dtype, self.width if wide else 0)
        if at.even and at.step in {-1, 2} and not self.active and not at.mask:
            text = self.shuffled_load(n, type_, at, dtype)
        elif at.lanes or at.mask or (wide and self.active):
            pointer = self.pointer(n, at, memory_type(dtype))
            text = self.masked_load(type_, pointer, at, dtype.itemsize)
        else:
            pointer = self.pointer(n, at, memory_type(dtype))
            text = self.writer.put(at.depth, f"load {type_}, ptr {pointer}, align {dtype.itemsize}")
        if dtype.kind == "b":
            text = self.writer.put(at.depth, f"icmp ne {type_} {text}, "
                                   + constant(0, np.dtype(np.uint8), self.width if wide else 0))
        return Value(text, at.depth, wide)

    def shuffled_load(self, n: int, type_: str, at: Address, dtype: Any) -> str:
        """Elements in reverse, or every other one: vectors that lie whole in what is read."""
        last, parts = self.width - 1, list[str]()
        for shift in (-last,) if at.step < 0 else (0, last):
            moved = self.writer.once(at.depth, f"add nsw i64 {at.offset}, {shift}")
            here = at._replace(offset=moved, lanes="")
            pointer = self.pointer(n, here, memory_type(dtype))
            parts.append(self.writer.put(
                at.depth, f"load {type_}, ptr {pointer}, align {dtype.itemsize}"))
        order = [last - k for k in range(self.width)] if at.step < 0 else [
            2 * k if 2 * k <= last else 2 * k + 1 for k in range(self.width)]
        return self.writer.put(at.depth, f"shufflevector {type_} {parts[0]}, {type_} {parts[-1]}, "
                               f"<{self.width} x i32> <{', '.join(f'i32 {k}' for k in order)}>")

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
                               f"{truths} {self.mask(at)}, {type_} zeroinitializer)")

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
        if at.lanes or at.mask:
            whole = self.lanes(INT64, at.depth, True)
            lanes = at.lanes or whole.add(whole.splat(at.offset), positions(self.width))
            inside = whole.put(f"icmp ult {whole.type} {lanes}, {whole.constant(extent)}")
            if at.mask:
                truth = whole.of(BOOL)
                inside = truth.binary("or", inside, truth.invert(at.mask))
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

    def inside(self, entry: Entry, size: int) -> tuple[Entry, Value]:
        """An index that stays below ``size``, and whether it is the one that was asked for.

        Where lanes follow one another, those that do not count are not read; else it is moved to 0.
        """
        at = self.position(entry)
        memo = self.writer.blocks[at.depth].memo
        key = ("inside", entry, size, self.vector)
        if key not in memo:
            whole = self.lanes(INT64, at.depth, at.wide)
            truth = whole.put(f"icmp ult {whole.type} {at.text}, {whole.constant(size)}")
            memo[key] = self.bounded(entry, size, at, truth), Value(truth, at.depth, at.wide)
        return memo[key]

    def bounded(self, entry: Entry, size: int, at: Value, truth: str) -> Entry:
        """The index for the lanes, or the number, for which the truth holds."""
        lanes = [(name, step) for name, step in entry[1] if name == self.vector
                 or name in self.guards]
        others = [name for name, _ in entry[1] if self.writer.variables[name].lanes]
        if size == 1:
            return 0, ()
        if [step for _, step in lanes] == [1] and len(others) == 1:
            (name, _), = lanes
            if name in self.guards:
                truth = self.lanes(BOOL, at.depth, True).binary("and", truth, self.guards[name])
            guard = f"guard {truth}"
            self.guards[guard] = truth
            self.writer.variables[guard] = Variable("", at.depth, lanes=True)
            return entry[0], tuple([(guard if v == name else v, k) for v, k in entry[1]])
        whole = self.lanes(INT64, at.depth, at.wide)
        moved = whole.select(truth, at.text, whole.constant(0))
        return self.named(Value(moved, at.depth, at.wide))

    def named(self, value: Value) -> Entry:
        """A variable of the given value."""
        self.writer.variables[value.text] = Variable(*value)
        return 0, ((value.text, 1),)
