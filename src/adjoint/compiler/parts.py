"""Kernels that are cut into chunks: a part of the loops, the call that shares them, the results.

A `Part` is the kernel of a group whose outermost loop runs from ``%first`` to ``%last``; `chunk`
is the function of a range of chunks that calls it, and `combination` puts partial results together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .chunks import distance
from .gemm import PACK
from .kernels import Kernel
from .loops import COMBINE, Loops
from .nests import Nest
from .plan import LINE, rounded
from .registers import BOOL, Lanes
from .text import Block, Writer, memory_type, register_type

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .chunks import Cut
    from .loops import Body
    from .schedule import Group, Schedule
    from .text import Module

SPAN = ("%first", "%last")
CHUNK = "ptr %args, ptr %scratch, i64 %from, i64 %to"  # the parameters of a function of chunks


class Bounded(Loops):
    """Loops of which one axis runs from-to; it begins at a whole vector if it runs over lanes."""

    cut = ""  # the variable

    def name(self) -> str:
        """The name of the function, with two parameters more."""
        head = ", ".join([*[f"ptr %b{k}" for k in range(len(self.buffers))],
                          *[f"i64 {end}" for end in SPAN]])
        return self.writer.module.kernel(head, self.writer.body())

    def turns(self, variable: str, span: tuple[int, int, int], inner: Body,
              carries: Sequence[tuple[str, str]]) -> list[str]:
        """One loop; from-to where it is the axis that is cut."""
        if variable != self.cut:
            return super().turns(variable, span, inner, carries)
        with self.writer.loop(variable, (*SPAN, span[2]), carries) as turn:
            turn.following = inner(turn.carried)
        return turn.carried

    def strips(self, variable: str, size: int, inner: Body,
               carries: Sequence[tuple[str, str]]) -> list[str]:
        """Whole vectors, of which there is one at least, then the rest where this is the end."""
        if variable != self.cut:
            return super().strips(variable, size, inner, carries)
        w, main = self.writer, size - size % self.width
        end = SPAN[1]
        if main < size:
            w.module.declare("llvm.umin.i64", "i64", "i64", "i64")
            end = w.once(0, f"call i64 @llvm.umin.i64(i64 {end}, i64 {main})")
        with w.loop(variable, (SPAN[0], end, self.width), carries, lanes=True) as turn:
            turn.following = self.abreast_of(inner, carries)(turn.carried)
        if main == size:
            return turn.carried
        return self.rest(variable, (main, size), inner, turn.carried, carries)

    def rest(self, variable: str, span: tuple[int, int], inner: Body, carried: list[str],
             carries: Sequence[tuple[str, str]]) -> list[str]:
        """What is behind the whole vectors, if the part reaches it."""
        w, (main, size) = self.writer, span
        outer, label, past = w.blocks[-1], w.name("rest"), w.name("past")
        reached = w.put(w.depth, f"icmp ugt i64 {SPAN[1]}, {main}")
        block = Block(label)
        w.blocks.append(block)
        self.active = size - main
        with w.fixed(variable, main, lanes=True):
            after = list(inner(carried))
        self.active = 0
        w.blocks.pop()
        before = outer.label
        outer.lines += [f"  br i1 {reached}, label %{label}, label %{past}", f"{label}:",
                        *block.lines, f"  br label %{past}", f"{past}:"]
        outer.label = past
        return [w.put(w.depth, f"phi {type_} [{a}, %{before}], [{b}, %{block.label}]")
                for (type_, _), a, b in zip(carries, carried, after, strict=True)]


class Part(Bounded, Nest):
    """A part of the loops of a group: some turns of the variable ``cut``."""

    def __init__(self, schedule: Schedule, group: Group, module: Module, *, vector_bytes: int,
                 checked: bool, cut: str) -> None:
        self.cut = cut
        super().__init__(schedule, group, module, vector_bytes=vector_bytes, checked=checked)


class Alone(Bounded, Kernel):
    """A part of the loops of one statement, or of the panels of a product."""

    span = SPAN

    def __init__(self, schedule: Schedule, group: Group, module: Module, *, vector_bytes: int,
                 checked: bool, cut: str) -> None:
        self.cut = cut
        super().__init__(schedule, group, module, vector_bytes=vector_bytes, checked=checked)


def part(schedule: Schedule, group: Group, module: Module, cut: Cut, *, vector_bytes: int,
         checked: bool) -> Part | Alone:
    """The kernel of a group that is cut."""
    write = Part if group.kind == "nest" else Alone
    return write(schedule, group, module, vector_bytes=vector_bytes, checked=checked,
                 cut=cut.variable)


def chunk(schedule: Schedule, kernel: Part | Alone, module: Module, cut: Cut) -> str:
    """The name of a function of a range of chunks, which finds the buffers and calls the kernel.

    ``%args`` are the pointers to its buffers. Temporaries are on the stack of the thread.
    """
    name, lines, given = kernel.name(), list[str](), list[str]()
    for j, n in enumerate(kernel.buffers):
        if n == PACK:
            given.append("ptr %scratch")
        elif n in schedule.temporaries:
            size = schedule.extent(n) * schedule.program.statements[n].known.dtype.itemsize
            lines.append(f"  %p{j} = alloca [{rounded(size)} x i8], align {LINE}")
            given.append(f"ptr %p{j}")
        else:
            lines += [f"  %s{j} = getelementptr ptr, ptr %args, i64 {j}",
                      f"  %p{j} = load ptr, ptr %s{j}"]
            given.append(f"ptr %p{j}")
            if n in cut.partial:
                lines += [f"  %o{j} = mul nuw nsw i64 %from, {distance(schedule, n)}",
                          f"  %q{j} = getelementptr i8, ptr %p{j}, i64 %o{j}"]
                given[-1] = f"ptr %q{j}"
    lines += [f"  %first = mul nuw nsw i64 %from, {cut.chunk}",
              f"  %end = mul nuw nsw i64 %to, {cut.chunk}",
              f"  %all = icmp eq i64 %to, {cut.many}",
              f"  %last = select i1 %all, i64 {cut.size}, i64 %end"]
    arguments = ", ".join([*given, *[f"i64 {end}" for end in SPAN]])
    lines += [f"  %code = call i64 @{name}({arguments})", "  ret i64 %code"]
    return module.kernel(CHUNK, "\n".join(["entry:", *lines]) + "\n")


def combination(schedule: Schedule, n: int, module: Module, count: int,
                vector_bytes: int) -> str:
    """The name of a function of two pointers that combines the partial results of a root.

    Chunk after chunk, at each place: the order of the sums does not depend on who computed them.
    """
    statement = schedule.program.statements[n]
    op, dtype = statement.parameters[0], statement.known.dtype
    size, step = schedule.extent(n), distance(schedule, n)
    writer, width = Writer(module), 1
    while 2 * width * dtype.itemsize <= vector_bytes and size % (2 * width) == 0:
        width *= 2
    with writer.loop("place", (0, size * dtype.itemsize, width * dtype.itemsize)):
        place = writer.variables["place"].text
        first = loaded(writer, dtype, width, "%b1", place)
        type_ = register_type(dtype, width)
        with writer.loop("chunk", (step, step * count, step), [(type_, first)]) as turn:
            at = Lanes(writer, writer.depth, width, dtype)
            there = writer.put(writer.depth, f"add nuw nsw i64 {place}, "
                                             f"{writer.variables['chunk'].text}")
            more = loaded(writer, dtype, width, "%b1", there)
            turn.following = [getattr(at, COMBINE[op])(*turn.carried, more)]
        stored(writer, dtype, width, place, turn.carried[0])
    return module.kernel("ptr %b0, ptr %b1", writer.body())


def loaded(writer: Writer, dtype: Any, width: int, base: str, place: str) -> str:
    """A vector from memory, so many bytes behind a pointer."""
    pointer = writer.put(writer.depth, f"getelementptr i8, ptr {base}, i64 {place}")
    type_ = memory_type(dtype, width)
    text = writer.put(writer.depth, f"load {type_}, ptr {pointer}, align {dtype.itemsize}")
    if dtype != BOOL:
        return text
    return writer.put(writer.depth, f"icmp ne {type_} {text}, zeroinitializer")


def stored(writer: Writer, dtype: Any, width: int, place: str, text: str) -> None:
    """A vector to memory, so many bytes behind the first pointer."""
    pointer = writer.put(writer.depth, f"getelementptr i8, ptr %b0, i64 {place}")
    type_ = memory_type(dtype, width)
    if dtype == BOOL:
        text = writer.put(writer.depth, f"zext {register_type(dtype, width)} {text} to {type_}")
    writer.do(writer.depth, f"store {type_} {text}, ptr {pointer}, align {dtype.itemsize}")
