"""The functions that call the kernels of a Layout in order: native segments, and bodies of loops.

A segment is ``i64 (ptr %table, ptr %work)``. A failure code of a kernel becomes a number of its
own, so that `Failures` can say which statement of which program it was.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, Any, NamedTuple

from .evaluator import CHECKS
from .gemm import PACK
from .kernels import Kernel
from .layout import nbytes
from .nests import Nest
from .parts import chunk, combination, part
from .program import CONTROL
from .rolled import Rolled, is_rolled
from .roots import rows_of
from .sharing_ir import SHARE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .chunks import Cut
    from .layout import Home, Layout
    from .parts import Alone, Part
    from .program import Program
    from .schedule import Group
    from .text import Module

MEMCPY = "llvm.memcpy.p0.p0.i64"


class Place(NamedTuple):
    """A call of a kernel, and what its failure codes speak of: what was left, and who left it."""

    program: Program
    subjects: tuple[tuple[int, int], ...]


class Failures:
    """The failure codes of a module: each call of a kernel owns a range of them."""

    def __init__(self) -> None:
        self.starts: list[int] = []
        self.places: list[Place] = []
        self.end = 0

    def add(self, place: Place) -> int:
        """What is added to the codes of a kernel at this call."""
        self.starts.append(self.end)
        self.places.append(place)
        self.end += 4 * (len(place.subjects) + 2)
        return self.starts[-1]

    def told(self, code: int) -> tuple[Program, tuple[int, int], bool]:
        """The program, what was left and who left it, and whether a check of memory found it."""
        k = bisect_right(self.starts, code) - 1
        place, rest = self.places[k], code - self.starts[k]
        return place.program, place.subjects[rest // 4 - 1], rest % 4 == CHECKS


class Settings(NamedTuple):
    """What kernels are written for."""

    vector_bytes: int
    checked: bool


class Driver:
    """The text of one function that calls kernels."""

    def __init__(self, layout: Layout, module: Module, failures: Failures,
                 settings: Settings) -> None:
        self.layout, self.module = layout, module
        self.failures, self.settings = failures, settings
        self.program = layout.program
        self.name = ""
        self.lines: list[str] = []
        self.rooms: list[str] = []  # on the stack, of the whole function
        self.label, self.count = "entry", 0

    def function(self, name: str, parameters: str, groups: Sequence[Group]) -> None:
        """Write the function, which runs some groups."""
        self.name = name
        for group in groups:
            if group.kind in CONTROL:
                getattr(self, group.kind)(group.roots[0])
            else:
                self.kernel(group)
        body = "\n".join(["entry:", *self.rooms, *self.lines, "  ret i64 0"])
        self.module.define(name, f"define i64 @{name}({parameters}) #0 {{\n{body}\n}}\n")

    # ---- text

    def put(self, text: str) -> str:
        """A new value."""
        self.count += 1
        self.lines.append(f"  %d{self.count} = {text}")
        return f"%d{self.count}"

    def mark(self, label: str) -> None:
        """Begin a block."""
        self.lines.append(f"{label}:")
        self.label = label

    def pointer(self, home: Home) -> str:
        """The pointer to a buffer."""
        if home.kind == "work":
            return self.put(f"getelementptr i8, ptr %work, i64 {home.number + home.offset}")
        base = f"%g{home.number}"
        if home.kind == "table":
            slot = self.put(f"getelementptr ptr, ptr %table, i64 {home.number}")
            base = self.put(f"load ptr, ptr {slot}")
        return self.put(f"getelementptr i8, ptr {base}, i64 {home.offset}") if home.offset else base

    def demand(self, code: str) -> None:
        """Return the code unless it is 0."""
        self.count += 1
        bad, good = f"bad{self.count}", f"good{self.count}"
        zero = self.put(f"icmp eq i64 {code}, 0")
        self.lines += [f"  br i1 {zero}, label %{good}, label %{bad}", f"{bad}:"]
        self.lines.append(f"  ret i64 {code}")
        self.mark(good)

    # ---- statements

    def kernel(self, group: Group) -> None:
        """Call the kernel of a group, or share it among threads."""
        cut = self.layout.cuts.get(group.roots[0])
        if cut is None:
            write = Nest if group.kind == "nest" else Kernel
            k = write(self.layout.schedule, group, self.module,
                      vector_bytes=self.settings.vector_bytes, checked=self.settings.checked)
            name = k.name()
            pointers = ", ".join("ptr " + self.pointer(
                self.layout.homes[i] if i != PACK else self.layout.packs[group.roots[0]])
                for i in k.buffers)
            answer = self.put(f"call i64 @{name}({pointers})")
        else:
            k = part(self.layout.schedule, group, self.module, cut,
                     vector_bytes=self.settings.vector_bytes, checked=self.settings.checked)
            answer = self.shared(group, k, cut)
        self.outcome(k, answer)
        if cut is not None:
            self.combined(cut)

    def shared(self, group: Group, k: Part | Alone, cut: Cut) -> str:
        """Call a kernel for all of its chunks; the failure code."""
        name = chunk(self.layout.schedule, k, self.module, cut)
        self.count += 1
        arguments = f"%args{self.count}"
        self.rooms.append(f"  {arguments} = alloca [{max(len(k.buffers), 1)} x ptr]")
        scratch = "null"
        for j, n in enumerate(k.buffers):
            if n in self.layout.schedule.temporaries:
                continue  # on the stack of each thread
            home = (self.layout.packs[group.roots[0]] if n == PACK else
                    self.layout.partial[n] if n in cut.partial else self.layout.homes[n])
            pointer = self.pointer(home)
            if n == PACK:
                scratch = pointer
            place = self.put(f"getelementptr ptr, ptr {arguments}, i64 {j}")
            self.lines.append(f"  store ptr {pointer}, ptr {place}")
        self.module.declare(SHARE, "i64", *["ptr"] * 3, *["i64"] * 3)
        self.module.externals.add(SHARE)
        return self.put(f"call i64 @{SHARE}(ptr @{name}, ptr {arguments}, ptr {scratch}, "
                        f"i64 {cut.many}, i64 {cut.scratch}, i64 {int(not cut.partial)})")

    def combined(self, cut: Cut) -> None:
        """Make results of the partial ones of chunks."""
        for n in cut.partial:
            name = combination(self.layout.schedule, n, self.module, cut.many,
                               self.settings.vector_bytes)
            whole, parts = (self.pointer(home[n]) for home in (
                self.layout.homes, self.layout.partial))
            self.put(f"call i64 @{name}(ptr {whole}, ptr {parts})")

    def outcome(self, k: Kernel | Nest | Rolled, answer: str) -> None:
        """Leave the function if a kernel has failed."""
        if not k.writer.failures:
            return
        start = self.failures.add(Place(k.program, tuple(k.subjects)))
        wrong = self.put(f"icmp ne i64 {answer}, 0")
        code = self.put(f"add i64 {answer}, {start}")
        self.demand(self.put(f"select i1 {wrong}, i64 {code}, i64 0"))

    def loop(self, n: int) -> None:
        """Run a body over and over: carries go from one buffer to another and back."""
        if is_rolled(self.program, n, self.layout.bodies[n, 0]):
            self.rolled(n)
            return
        s = self.program.statements[n]
        _, count, carries, *shared = s.parameters
        moving = len(s.inputs) - sum(shared)  # what is behind is given whole
        body, sizes = Body(self, n, 0), [nbytes(k) for k in s.known]
        firsts, others, stacks = self.carried(n, carries)
        if count % 2:
            firsts, others = others, firsts
        sources = [rows_of(self.program, n, k) for k in range(len(s.inputs))]
        given = [self.pointer(self.layout.homes[r.base]) for r in sources]
        for to, from_, size in zip(firsts, given[:carries], sizes, strict=False):
            self.copied(to, from_, size)
        if not count:
            return
        before, head, mark = self.label, f"loop{n}", len(self.lines) + 2
        self.lines.append(f"  br label %{head}")
        self.mark(head)
        turn = f"%turn{n}"
        now, then = ([f"%{side}{n}_{k}" for k in range(carries)] for side in ("now", "then"))
        rows = [self.row(g, turn, nbytes(self.program.statements[r.base].known, 1), r.start, r.step)
                for g, r in zip(given[carries:moving], sources[carries:moving], strict=True)]
        to = [self.row(g, turn, size // count)
              for g, size in zip(stacks, sizes[carries:], strict=True)]
        body.run([*now, *rows, *given[moving:]], [*then, *to])
        following = self.put(f"add nuw nsw i64 {turn}, 1")
        again = self.put(f"icmp ult i64 {following}, {count}")
        self.lines.append(f"  br i1 {again}, label %{head}, label %out{n}")
        self.lines[mark:mark] = [f"  {turn} = phi i64 [0, %{before}], [{following}, %{self.label}]",
                                 *[f"  {a} = phi ptr [{b}, %{before}], [{c}, %{self.label}]"
                                   for a, b, c in zip([*now, *then], [*firsts, *others],
                                                      [*then, *now], strict=True)]]
        self.mark(f"out{n}")

    def rolled(self, n: int) -> None:
        """Call the kernel that is a whole loop."""
        body = self.layout.bodies[n, 0]
        k = Rolled(self.program, n, body, self.module, vector_bytes=self.settings.vector_bytes,
                   checked=self.settings.checked)
        name, homes = k.name(), self.layout.homes
        constants = self.layout.lent[n, 0][1:]
        before = len(body.program.inputs) + len(body.program.outputs)
        pointers = ", ".join("ptr " + self.pointer(
            self.layout.results[n, -1 - m] if m < 0 else homes[k.given(m)] if k.given(m) >= 0 else
            constants[body.homes[m].number - before]) for m in k.buffers)
        self.outcome(k, self.put(f"call i64 @{name}({pointers})"))

    def carried(self, n: int, carries: int) -> tuple[list[str], list[str], list[str]]:
        """The buffers of the results of a loop: carries, their second ones, and the rest."""
        size = len(self.program.statements[n].known)
        homes = [self.pointer(self.layout.results[n, k]) for k in range(size)]
        second = [self.layout.results.get((n, size + j)) for j in range(carries)]
        others = [first if home is None else self.pointer(home)  # else a sum that grows in place
                  for first, home in zip(homes, second, strict=False)]
        return homes[:carries], others, homes[carries:]

    def repeat(self, n: int) -> None:
        """Run a body as long as a condition holds, which is asked before each turn."""
        s = self.program.statements[n]
        carries = s.parameters[2]
        test, body, sizes = Body(self, n, 0), Body(self, n, 1), [nbytes(k) for k in s.known]
        firsts, others, (count,) = self.carried(n, carries)
        given = [self.pointer(self.layout.homes[i]) for i in s.inputs]
        truth = self.pointer(self.layout.tests[n])
        for to, from_, size in zip(firsts, given[:carries], sizes, strict=False):
            self.copied(to, from_, size)
        before, head, mark = self.label, f"loop{n}", len(self.lines) + 2
        self.lines.append(f"  br label %{head}")
        self.mark(head)
        now, then = ([f"%{side}{n}_{k}" for k in range(carries)] for side in ("now", "then"))
        test.run([*now, *given[carries:]], [truth])
        holds = self.holds(truth, test.layout.known(test.program.outputs[0]))
        self.lines.append(f"  br i1 {holds}, label %body{n}, label %out{n}")
        self.mark(f"body{n}")
        body.run([*now, *given[carries:]], then)
        following = self.put(f"add nuw nsw i64 %turn{n}, 1")
        self.lines.append(f"  br label %{head}")
        self.lines[mark:mark] = [
            f"  %turn{n} = phi i64 [0, %{before}], [{following}, %{self.label}]",
            *[f"  {a} = phi ptr [{b}, %{before}], [{c}, %{self.label}]" for a, b, c in zip(
                [*now, *then], [*firsts, *others], [*then, *now], strict=True)]]
        self.mark(f"out{n}")
        for to, from_, size in zip(firsts, now, sizes, strict=False):
            self.copied(to, from_, size)  # which may be one
        self.lines.append(f"  store i64 %turn{n}, ptr {count}")

    def branch(self, n: int) -> None:
        """Run one of two bodies."""
        s = self.program.statements[n]
        bodies = Body(self, n, 0), Body(self, n, 1)
        to = [self.pointer(self.layout.results[n, k]) for k in range(len(s.known))]
        condition, *given = [self.pointer(self.layout.homes[i]) for i in s.inputs]
        holds = self.holds(condition, self.layout.known(s.inputs[0]))
        self.lines.append(f"  br i1 {holds}, label %case{n}_1, label %case{n}_0")
        for k, body in enumerate(bodies):
            self.mark(f"case{n}_{k}")
            body.run(given, to)
            self.lines.append(f"  br label %join{n}")
        self.mark(f"join{n}")

    def holds(self, pointer: str, known: Any) -> str:
        """Whether a number in memory is not 0."""
        whole = f"i{8 * known.dtype.itemsize}"
        return self.put(f"icmp ne {whole} {self.put(f'load {whole}, ptr {pointer}')}, 0")

    def row(self, base: str, turn: str, size: int, start: int = 0, step: int = 1) -> str:
        """The pointer to row ``start + step * turn`` of an array of rows of a size."""
        offset = self.put(f"mul nsw i64 {turn}, {size * step}")
        if start:
            offset = self.put(f"add nsw i64 {offset}, {size * start}")
        return self.put(f"getelementptr i8, ptr {base}, i64 {offset}")

    def copied(self, to: str, from_: str, size: int) -> None:
        """Copy bytes."""
        self.module.declare(MEMCPY, "void", "ptr", "ptr", "i64", "i1")
        if size:
            self.lines.append(f"  call void @{MEMCPY}(ptr {to}, ptr {from_}, i64 {size}, i1 false)")


class Body:
    """The body of a loop or branch as a function ``i64 (ptr %work, ptr %g0, ...)``.

    It gets pointers to its inputs, to its outputs and to its constants. ``which`` is the parameter
    that it is of its statement.
    """

    def __init__(self, outer: Driver, n: int, which: int) -> None:
        self.outer, self.layout = outer, outer.layout.bodies[n, which]
        self.program = program = self.layout.program
        # Two loops with one body have one function for each: failures name the statement.
        self.name = f"{outer.name}_{n}_{which}"
        given = len(program.inputs) + len(program.outputs) + len(self.layout.arrays)
        parameters = ", ".join(["ptr %work", *[f"ptr %g{k}" for k in range(given)]])
        driver = Driver(self.layout, outer.module, outer.failures, outer.settings)
        driver.function(self.name, parameters, self.layout.schedule.groups)
        self.work, *self.constants = [outer.pointer(h) for h in outer.layout.lent[n, which]]

    def run(self, inputs: Sequence[str], outputs: Sequence[str]) -> None:
        """Call it, and copy what it gives without computing it, or gives twice."""
        pointers = [*inputs, *outputs, *self.constants]
        text = ", ".join(f"ptr {p}" for p in [self.work, *pointers])
        self.outer.demand(self.outer.put(f"call i64 @{self.name}({text})"))
        for to, o in zip(outputs, self.program.outputs, strict=True):
            home = self.layout.homes[o]
            from_ = pointers[home.number] if home.kind == "given" else self.outer.put(
                f"getelementptr i8, ptr {self.work}, i64 {home.number + home.offset}")
            if from_ != to:
                self.outer.copied(to, from_, nbytes(self.layout.known(o)))
