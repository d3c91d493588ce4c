"""The stage after re-rolling: what needs no turn of a loop is taken out of it, all turns at once.

A statement of a body that reads no carry, directly or through others, is the same for all turns or
falls apart into one computation for each; a sum that grows by a term each turn is the sum of the
stacked terms. So

* a loop whose carries are all such sums is no loop any more: each statement of its body gets one
  more axis in front, the turns (`turns.py`), and the sums are reductions over it;
* of other loops, sums are made behind the loop, those of thin products as one product over the
  stacked operands; what does not change is made once, before it; and thin products and long
  formulas that read no carry are made for all turns before it.

Terms are added in another order than turn by turn, within the bounds of sums. Start reading at
`distributed`.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

from adjoint.core.node import aval

from .editor import Writer, compacted, retold, rewritten, uncollected
from .facts import never_minus_zero
from .functions_ir import CURVED
from .layout import body_of, nbytes, why_control
from .periods import readers_of
from .seeds import judge
from .turns import Turns, enlarged

if TYPE_CHECKING:
    from collections.abc import Iterable

    from adjoint.ops.loops import Index, Shape

    from .program import Program

SMALL = 1 << 18   # bytes that one turn makes, up to which a loop without carries is taken apart
ROOM = 1 << 25    # bytes of what all turns make, up to which they are made at once
FEW = 4           # rows of a product up to which it is made for all turns at once
SCALARS = 16      # elements up to which a long formula is evaluated for all turns at once
THICK = 12        # the sum over k of a product from which on each turn adds its own
WIDE = 256        # elements of a sum that is made for all turns at once
SLIM = 4          # times the bytes of what a result is made of, from which on that is stacked
POINTWISE = {"elementwise", "cast", "select"}
FREE = {"view", "const", "iota", "input"}


def distributed(program: Program) -> Program:
    """The Program with less in its loops; itself where nothing can be taken out.

    >>> from adjoint.compiler.distribute import distributed
    >>> from adjoint.compiler.program import ProgramBuilder
    >>> from adjoint.compiler.reroll import rerolled
    >>> from adjoint.core.node import aval_of
    >>> b = ProgramBuilder()
    >>> x = b.input(aval_of(np.ones((40, 3))))
    >>> total = b.const(np.float64(0))
    >>> for t in range(40):
    ...     row = b.view(x, ((t, ()), (0, ((0, 1),))), (3,))
    ...     total = b.elementwise("add", total, b.reduce("add", row, (0,)))
    >>> b.program.outputs = [total.number]
    >>> [s.name for s in rerolled(b.program).statements if s.name == "loop"]
    ['loop']
    >>> [s.name for s in distributed(rerolled(b.program)).statements if s.name == "loop"]
    []
    """
    live = program.live()
    loops = [n for n in live if program.statements[n].name == "loop" and is_open(program, n)]
    if not loops:
        return program
    with uncollected():
        w = Writer()
        new: dict[int, int] = {n: w.input(program.statements[n].known) for n in program.inputs}
        items: dict[int, list[int]] = {}  # of loops that are taken apart: their results
        for n in live:
            if n in new:
                continue
            first, s = len(w.statements), program.statements[n]
            if n in loops and (found := Distribution(w, program, n, new).write()) is not None:
                items[n] = found
            elif s.name == "item" and s.inputs[0] in items:
                new[n] = items[s.inputs[0]][s.parameters[0]]
            else:
                new[n] = rewritten(w, program, n, new)
            made = range(first, len(w.statements))
            retold(program, n, w.program, [*made, *([new[n]] if n in new else [])])
        if not items:
            return program
        w.program.outputs = [new[n] for n in program.outputs]
        return compacted(w.program, program)


def is_open(program: Program, n: int) -> bool:
    """Whether a loop is machine code, and only its items are read."""
    if n in program.outputs or why_control(program, n):
        return False
    body = body_of(program.statements[n].parameters[0])
    return all(not isinstance(body.statements[m].known, tuple) for m in body.live())


class Distribution:
    """One loop, taken apart: what its statements depend on, and where each is made."""

    def __init__(self, writer: Writer, program: Program, n: int, new: dict[int, int]) -> None:
        self.w, s = writer, program.statements[n]
        body, self.count, self.carries, *shared = s.parameters
        self.body = body_of(body)
        self.statements = self.body.statements
        self.given = [new[i] for i in s.inputs]
        self.whole = len(self.given) - sum(shared)
        self.live = self.body.live()
        self.readers = readers_of(self.body, self.live)
        self.place = {m: k for k, m in enumerate(self.body.inputs)}
        self.judged = judge(self.body)
        self.chains = self.sums()
        self.last = [k for k in range(self.carries) if k not in self.chains
                     and not self.readers.get(self.body.inputs[k])]
        self.moving = self.dependent()

    # ---- what depends on what

    def sums(self) -> dict[int, list[int]]:
        """The carries to which each turn only adds something, and the sums of one turn."""
        found: dict[int, list[int]] = {}
        outputs = self.body.outputs
        for k, m in enumerate(self.body.inputs[:self.carries]):
            chain = self.chain(m)
            alone = chain and chain[-1] == outputs[k] and outputs.count(outputs[k]) == 1 and (
                self.readers[outputs[k]] == [-1])  # nobody reads what the turns have so far
            if alone and (
                    self.is_given_without(self.given[k]) or all(
                        self.is_term(m, chain, j) for j in range(len(chain)))):
                found[k] = chain
        return found

    def chain(self, m: int) -> list[int]:
        """The sums that begin with a value that nobody else reads."""
        chain: list[int] = []
        while len(readers := self.readers.get(m, [])) == 1 and readers[0] >= 0:
            s = self.statements[readers[0]]
            if s.name != "elementwise" or s.parameters != ("add",) or s.known.dtype.kind != "f":
                break
            chain.append(m := readers[0])
        return chain

    def is_term(self, m: int, chain: list[int], j: int) -> bool:
        """Whether what one sum adds is no -0, which a sum from 0 would not keep."""
        term = self.term(m, chain, j)
        if term in self.place:
            return self.is_given_without(self.given[self.place[term]])
        return never_minus_zero(self.judged, term)

    def is_given_without(self, n: int) -> bool:
        """Whether what the loop is given is never -0."""
        outer: Any = self.w
        return never_minus_zero(outer, n)

    def term(self, m: int, chain: list[int], j: int) -> int:
        """What sum j of a chain adds."""
        before = chain[j - 1] if j else m
        a, b = self.statements[chain[j]].inputs
        return b if a == before else a

    def dependent(self) -> set[int]:
        """The statements that depend on a carry which goes from turn to turn."""
        fixed = {*self.chains, *self.last}
        found = {m for k, m in enumerate(self.body.inputs[:self.carries]) if k not in fixed}
        for m in self.live:
            if not found.isdisjoint(self.statements[m].inputs):
                found.add(m)
        return found

    def invariant(self) -> set[int]:
        """The statements that are the same in all turns."""
        found: set[int] = set()
        for m in self.live:
            s = self.statements[m]
            if (self.place[m] >= self.whole) if s.name == "input" else (
                    found.issuperset(s.inputs)):
                found.add(m)
        return found

    # ---- what is made of the loop

    def write(self) -> list[int] | None:
        """The results of the loop as statements of the new Program; None if it stays."""
        if not self.moving:
            return self.taken_apart() if self.is_small(self.live) else None
        return self.thinned()

    def is_small(self, some: Any) -> bool:
        """Whether there is room for what some statements are in all turns."""
        made = [nbytes(self.statements[m].known) for m in some
                if self.statements[m].name not in FREE]
        return sum(made) <= SMALL and sum(made) * self.count <= ROOM

    def turns(self) -> Turns:
        """What the body is given, for all turns."""
        rows = {m: x for m, x in zip(self.body.inputs, self.given, strict=True)
                if self.carries <= self.place[m]}
        each = {m for m in rows if self.place[m] < self.whole}
        return Turns(self.w, self.body, self.count, rows, each)

    def taken_apart(self) -> list[int]:
        """All turns at once, counted from the last one where most is read backward."""
        turns, backward = self.turns(), self.is_backward()
        if backward:
            turns.found.update({m: self.reversed(turns.found[m]) for m in turns.various})
        last = 0 if backward else self.count - 1
        out = [self.sum(turns, k) if k in self.chains else turns.at(m, last)
               for k, m in enumerate(self.body.outputs[:self.carries])]
        stacked = [turns.each(m) for m in self.body.outputs[self.carries:]]
        return out + [self.reversed(n) if backward else n for n in stacked]

    def is_backward(self) -> bool:
        """Whether the rows of more numbers are given in reverse: so gradients walk through turns.

        What the turns add up, they add up in any order.
        """
        score = 0
        for n in self.given[self.carries:self.whole]:
            s = self.w.statements[n]
            if s.name == "view":
                steps = [k for _, terms in s.parameters[0] for d, k in terms if d == 0]
                score += s.known.size * (any(k < 0 for k in steps) - any(k > 0 for k in steps))
        return score > 0

    def reversed(self, n: int) -> int:
        """The turns from the last to the first."""
        shape = self.w.known(n).shape
        index = tuple([(0, ((d, 1),)) for d in range(len(shape))])
        return self.w.view(n, ((self.count - 1, ((0, -1),)), *index[1:]), shape)

    def sum(self, turns: Turns, k: int) -> int:
        """A carry, and all that the turns add to it."""
        total, m = self.given[k], self.body.inputs[k]
        for j in range(len(self.chains[k])):
            term = turns.each(self.term(m, self.chains[k], j))
            total = self.w.map("add", total, self.w.reduce("add", term, (0,)))
        return total

    # ---- a loop that stays

    def thinned(self) -> list[int] | None:
        """The loop with what must be in it, and the rest before and behind it."""
        same, held = self.invariant(), self.held_back()
        early = self.early(same)
        outside = {k for k in self.last if self.body.outputs[k] not in self.moving}
        core = [k for k in range(self.carries) if k not in held and k not in outside]
        ends = [self.body.outputs[k] for k in core]
        wanted = [m for m in self.body.outputs[self.carries:] if m in self.moving]
        stacks = self.slim(wanted, self.used(ends, early))
        thinner = stacks != [*dict.fromkeys(wanted)]
        stacks = [*dict.fromkeys([*stacks, *[m for found in held.values() for m in found]])]
        used = self.used([*ends, *stacks], early)
        if not (held or early & used or thinner or any(
                narrow(self.w, n) for n in self.given[self.carries:self.whole])):
            return None
        turns = self.turns()
        made = Remainder(self, turns, core, stacks, used, early & used, same).write()
        turns.found.update(zip(stacks, made[len(core):], strict=True))
        turns.various.update(stacks)
        out = dict(zip(core, made, strict=False)) | {k: self.sum(turns, k) for k in held}
        out |= {k: turns.at(self.body.outputs[k], self.count - 1) for k in outside}
        return [*[out[k] for k in range(self.carries)],
                *[turns.each(m) for m in self.body.outputs[self.carries:]]]

    def slim(self, wanted: list[int], core: set[int]) -> list[int]:
        """What is stacked for results: instead of one that is far larger what it is made of."""
        found: dict[int, None] = {}
        for m in wanted:
            some = self.origins([m], core)
            slim = SLIM * self.bytes_of(some) <= self.bytes_of([m])
            found.update(dict.fromkeys(some if slim else [m]))
        return [*found]

    def origins(self, waiting: list[int], core: set[int]) -> list[int]:
        """What statements are made of, element by element, besides what no turn changes.

        What the turns need themselves (``core``) is not made again behind the loop, but for views.
        """
        found: dict[int, None] = {}
        waiting = [*waiting]
        while waiting:
            m = waiting.pop()
            s = self.statements[m]
            if s.name == "view" or (s.name in POINTWISE and m not in core):
                waiting += self.moving.intersection(s.inputs)
            else:
                found[m] = None
        return [*found]

    def bytes_of(self, some: Iterable[int]) -> int:
        """The bytes of some statements in one turn."""
        return sum(nbytes(self.statements[m].known) for m in some)

    def used(self, outputs: list[int], early: set[int]) -> set[int]:
        """What outputs are made of, down to inputs and to what is made before the loop."""
        found, waiting = set[int](), [*outputs]
        while waiting:
            m = waiting.pop()
            if m not in found:
                found.add(m)
                waiting += () if m in early else self.statements[m].inputs
        return found

    def early(self, same: set[int]) -> set[int]:
        """The statements that are better made before the loop."""
        return {m for m in self.live if m not in self.moving and (
            self.is_turned(m) if self.statements[m].name == "view" and m in same else
            self.statements[m].name not in FREE and (
                m in same or (self.is_heavy(m) and self.is_small([m]))))}

    def is_turned(self, m: int) -> bool:
        """Whether a view turns the axes of a matrix that products read."""
        axes = [d for _, terms in self.statements[m].parameters[0] for d, _ in terms]
        return axes != sorted(axes) and any(
            r >= 0 and self.statements[r].name == "dot" for r in self.readers[m])

    def is_heavy(self, m: int) -> bool:
        """Whether it is made better for all turns at once: thin products, formulas of few."""
        s = self.statements[m]
        if s.name == "dot":
            return len(s.known.shape) == 2 and s.known.shape[0] <= FEW
        if s.name == "reduce":
            return self.statements[s.inputs[0]].known.size >= WIDE
        return s.name == "elementwise" and s.parameters[0] in CURVED and s.known.size <= SCALARS

    def held_back(self) -> dict[int, list[int]]:
        """The sums that are made behind the loop, and what must be stacked for each."""
        found: dict[int, list[int]] = {}
        room, stacked = ROOM // self.count, {*self.body.outputs[self.carries:]} & self.moving
        core = self.used([self.body.outputs[k] for k in range(self.carries)
                          if k not in self.chains and k not in self.last], set())
        for k, chain in self.chains.items():
            terms = [self.term(self.body.inputs[k], chain, j) for j in range(len(chain))]
            some = min(self.frontier([*terms], stacked),
                       self.origins([*self.moving.intersection(terms)], core),
                       key=lambda some: self.bytes_of({*some} - stacked))
            needed = self.bytes_of({*some} - stacked)
            if needed <= room and not any(map(self.is_thick, terms)):
                room -= needed
                stacked.update(some)
                found[k] = some
        return found

    def is_thick(self, m: int) -> bool:
        """Whether a term is a product that is made well in its turn: what it reads is at hand."""
        s = self.statements[m]
        return s.name == "dot" and sum(
            self.statements[i].known.shape[-1] for i in s.inputs[::2]) >= THICK

    def frontier(self, waiting: list[int], stacked: set[int]) -> list[int]:
        """What is stacked so that statements can be made behind the loop, in few bytes."""
        found: dict[int, None] = {}
        seen: set[int] = set()
        while waiting:
            m = waiting.pop()
            s = self.statements[m]
            if m in seen or m not in self.moving:
                continue
            seen.add(m)
            below = {self.base(i) for i in s.inputs} & self.moving - stacked
            size = sum(nbytes(self.statements[i].known) for i in below)
            if m in stacked or s.name == "input" or (
                    s.name != "view" and size > nbytes(s.known)):
                found[m] = None
            else:
                waiting += s.inputs
        return [*found]

    def base(self, m: int) -> int:
        """What a view looks at."""
        s = self.statements[m]
        return s.inputs[0] if s.name == "view" else m


class Remainder:
    """A loop with fewer statements: what it is given, and its new body.

    ``core`` are the carries that it keeps, ``stacks`` the statements that it stacks, ``used`` those
    that are read, of which ``early`` are made before it, and ``same`` do not change.
    """

    def __init__(self, whole: Distribution, turns: Turns, core: list[int], stacks: list[int],
                 used: set[int], early: set[int], same: set[int]) -> None:
        self.whole, self.turns, self.core, self.stacks = whole, turns, core, stacks
        self.body, self.used = whole.body, used
        given = [m for m in whole.live if m in used and (
            m in early or whole.place.get(m, -1) >= whole.carries)]
        self.rows = [m for m in given if m not in same]
        self.shared = [m for m in given if m in same]

    def write(self) -> list[int]:
        """The loop in the Program around it: its items."""
        w, whole, count = self.turns.w, self.whole, self.whole.count
        rows = [self.turns(m) for m in self.rows]
        narrower = [narrow(w, n) for n in rows]
        rows = [found.array if found else n for found, n in zip(narrower, rows, strict=True)]
        body, shared = self.written(narrower), len(self.shared)
        xs = [*[whole.given[k] for k in self.core], *rows, *map(self.turns, self.shared)]
        outs, carries = body.results(), len(self.core)
        known = (*outs[:carries], *[enlarged(o, count) for o in outs[carries:]])
        extra = (shared,) if shared else ()
        n = w.made("loop", tuple(xs), (body, count, carries, *extra), known)
        return [w.made("item", (n,), (k,), a) for k, a in enumerate(known)]

    def written(self, narrower: list[Narrow | None]) -> Program:
        """The new body, with the rows that are given without repeated axes."""
        b, statements = Writer(), self.body.statements
        new = {self.body.inputs[k]: b.input(statements[self.body.inputs[k]].known)
               for k in self.core}
        for m, found in zip(self.rows, narrower, strict=True):
            known = statements[m].known
            new[m] = b.input(known) if found is None else b.view(
                b.input(aval(found.shape, known.dtype)), found.place, known.shape)
        new.update({m: b.input(statements[m].known) for m in self.shared})
        for m in self.whole.live:
            if m in self.used and m not in new:
                new[m] = rewritten(b, self.body, m, new)
                retold(self.body, m, b.program, (new[m],))
        b.program.outputs = [new[self.body.outputs[k]] for k in self.core]
        b.program.outputs += [new[m] for m in self.stacks]
        return b.program


class Narrow(NamedTuple):
    """The rows of a view without the axes along which they only repeat."""

    array: int  # of all turns, in the Program around the loop
    shape: Shape  # of a row
    place: Index  # of the repeated row, as a view of it


def narrow(w: Writer, n: int) -> Narrow | None:
    """What a stacked view repeats in each turn; None if it repeats nothing."""
    s = w.statements[n]
    if s.name != "view" or n in w.numbers:
        return None
    index, shape = s.parameters
    moved = {d for _, terms in index for d, _ in terms}
    kept = [d for d in range(1, len(shape)) if d in moved]
    repeated = prod([k for d, k in enumerate(shape) if d and d not in moved])
    if 0 not in moved or repeated < 2:
        return None
    where = {0: 0} | {d: k for k, d in enumerate(kept, start=1)}
    thin = tuple([(o, tuple([(where[d], k) for d, k in terms])) for o, terms in index])
    row = tuple([shape[d] for d in kept])
    return Narrow(w.view(s.inputs[0], thin, (shape[0], *row)), row,
                  tuple([(0, ((d - 1, 1),)) for d in kept]))
