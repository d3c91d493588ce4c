"""A loop over numbers as one kernel, whose carries stay in registers from turn to turn.

A body that is called each turn writes its carries to memory and reads them again, which takes
longer than a product. Where all that a body computes are single numbers, the loop is written around
their values instead: what it is given row by row is read at the turn, what is stacked is stored
there, and what does not change is computed before it.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

from .evaluator import Value
from .loops import Loops, straight
from .roots import rows_of
from .text import register_type

if TYPE_CHECKING:
    from .evaluator import Place, Steps
    from .layout import Layout
    from .program import Program
    from .text import Module

TURN = "turn"  # the variable of the loop
# The statements that are evaluated at a place; where they look at more, they look at what is given.
SINGLE = {"elementwise", "cast", "select", "pick", "pad"}
LOOKING = {"input", "const", "view", "iota"}


def is_rolled(program: Program, n: int, body: Layout) -> bool:
    """Whether a loop is written so: at least one turn, of one kernel without axes."""
    groups = body.schedule.groups
    if not program.statements[n].parameters[1] or len(groups) != 1 or groups[0].kind != "nest":
        return False
    return all(prod(body.known(o).shape) == 1 for o in body.program.outputs) and all(
        s.name in LOOKING or (s.name in SINGLE and prod(s.known.shape) == 1)
        for s in map(body.program.statements.__getitem__, body.live))


class Rolled(Loops):
    """The function that runs all turns.

    Its ``buffers`` are statements of the body, for what the loop is given for them, and below 0
    its results: -1 is the first.
    """

    def __init__(self, program: Program, n: int, body: Layout, module: Module, *,
                 vector_bytes: int, checked: bool = False) -> None:
        inner, inputs = body.program, body.program.inputs
        super().__init__(inner, {m for m in body.schedule.stored if inner.statements[m].name in {
            "input", "const"}}, module, width=0, checked=checked)
        self.vector_bytes, self.outer, self.n = vector_bytes, program, n
        _, self.count, self.carries, *_ = program.statements[n].parameters
        self.sources = {m: rows_of(program, n, k) for k, m in enumerate(inputs)}
        self.carried: dict[int, Value] = {}
        self.write()

    # ---- what is given, and what comes of it

    def given(self, n: int) -> int:
        """The statement outside in whose memory one of the body is; -1 if it is a constant."""
        return self.sources[n].base if n in self.sources else -1

    def known(self, n: int) -> Any:
        """The Aval of a statement of the body, or of one turn of a result."""
        return super().known(n if n >= 0 else self.program.outputs[-1 - n])

    def placed(self, n: int) -> tuple[int, ...]:
        """The strides, behind the distance of two rows."""
        strides = super().placed(n)
        return (prod(self.known(n).shape), *strides)

    def extent(self, n: int) -> int:
        """All rows."""
        if n < 0:
            return super().extent(n) * (self.count if -n > self.carries else 1)
        base = self.given(n)
        return prod(self.outer.statements[base].known.shape) if base >= 0 else super().extent(n)

    def code(self, n: int, what: int, reader: int | None = None) -> int:
        """A failure code speaks of statements of the body."""
        return super().code(n if n >= 0 else self.program.outputs[-1 - n], what, reader)

    def steps(self, n: int, place: Place) -> Steps:
        """A carry is in a register."""
        return self.carry(n) if n in self.carried else super().steps(n, place)

    def carry(self, n: int) -> Steps:
        """The value that the turn before has left."""
        yield from ()
        return self.carried[n]

    def loaded(self, n: int, place: Place) -> Steps:
        """From memory: of this turn, or what is the same in all."""
        yield from ()
        source = self.sources.get(n)
        step = source.step if source else 0
        row = source.start if source else 0, ((TURN, step),) if step else ()
        return self.load(n, (row, *place))

    # ---- what is hardly ever chosen

    def of_select(self, n: int, place: Place) -> Steps:
        """What stands for NaN is chosen by a branch: the next turn does not wait for the answer."""
        s = self.program.statements[n]
        if not self.is_rare(s.inputs[0]):
            return (yield from super().of_select(n, place))
        condition = yield s.inputs[0], place
        rare = yield s.inputs[1], place
        usual = yield s.inputs[2], place
        depth = max(condition.depth, rare.depth, usual.depth)
        block, type_ = self.writer.blocks[depth], register_type(s.known.dtype)
        seldom, join = self.writer.name("seldom"), self.writer.name("join")
        block.lines += [f"  br i1 {condition.text}, label %{seldom}, label %{join}", f"{seldom}:",
                        f"  br label %{join}", f"{join}:"]
        before, block.label = block.label, join
        return Value(self.writer.put(depth, f"phi {type_} [{usual.text}, %{before}], "
                                            f"[{rare.text}, %{seldom}]"), depth)

    def is_rare(self, n: int) -> bool:
        """Whether a condition holds of NaN only."""
        s = self.program.statements[n]
        return s.name == "elementwise" and (s.parameters == ("isnan",) or (
            s.parameters == ("logical_and",) and any(map(self.is_rare, s.inputs))))

    # ---- the loop

    def write(self) -> None:
        """All turns, and the last carries."""
        outputs, inputs = self.program.outputs, self.program.inputs[:self.carries]
        self.reader = outputs[0]
        firsts = [(register_type(self.known(m).dtype), self.first(m).text) for m in inputs]
        with self.writer.loop(TURN, (0, self.count, 1), firsts) as turn:
            self.carried = {m: Value(text, self.writer.depth)
                            for m, text in zip(inputs, turn.carried, strict=True)}
            values = [self.made(o) for o in outputs]
            for k in range(self.carries, len(outputs)):
                self.kept_in(k, values[k], ((TURN, 1),))
            turn.following = [value.text for value in values[:self.carries]]
        for k, text in enumerate(turn.carried):
            self.kept_in(k, Value(text, 0), ())

    def first(self, m: int) -> Value:
        """What a carry is before the first turn."""
        return self.load(m, ((0, ()), *straight(self.known(m).shape)))

    def made(self, n: int) -> Value:
        """A result of the body."""
        self.reader = n
        return self.value(n, straight(self.known(n).shape))

    def kept_in(self, k: int, value: Value, terms: tuple[tuple[str, int], ...]) -> None:
        """Store a result, of one turn or of all."""
        self.reader = self.program.outputs[k]
        self.store(-1 - k, ((0, terms), *straight(self.known(-1 - k).shape)), value)
