"""Where a Program repeats itself: stretches of statements whose signatures recur with a period.

A signature says what a statement does but not on which values: its name, its parameters without the
offsets of views and pads, and the shapes and dtypes of operands and result. Everything here is
linear in the number of statements.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from .layout import why_called
from .program import CONTROL

if TYPE_CHECKING:
    from .program import Program

LEAVES = {"input", "const", "iota"}
ALONE = {*CONTROL, "item", "call"}  # never part of a repetition
MOVE = {"view", "pad"}  # whose offsets may differ from turn to turn
GRAM = 4    # signatures that are looked up together
TRIED = 4   # distances that are tried at each place
FEWEST = 4  # repetitions
TWICE = 1000  # what a byte costs more that crosses two cuts: such a value is no carry
SHORTEST = 24  # statements of all repetitions together


class Run(NamedTuple):
    """Statements ``start`` to ``start + length`` of an order repeat with a period."""

    start: int
    period: int
    length: int

    def turns(self, order: list[int]) -> list[list[int]]:
        """The statements of each whole repetition."""
        whole = self.length // self.period
        return [order[self.start + t * self.period:self.start + (t + 1) * self.period]
                for t in range(whole)]


def is_leaf(program: Program, n: int) -> bool:
    """Whether a statement is as good as its operand anywhere: an input, a constant, a number."""
    s = program.statements[n]
    if s.name == "view":
        base = program.statements[s.inputs[0]]
        return base.name == "const" and not base.known.shape
    return s.name in LEAVES


def signatures(program: Program, order: list[int]) -> dict[int, int]:
    """What each statement does, as a number; one of its own where it cannot be in a loop."""
    codes: dict[Any, int] = {}
    coded: dict[int, int] = {}

    def code(n: int) -> int:
        found = coded.get(n)
        if found is None:
            known = program.statements[n].known
            key = None if known.__class__ is tuple else (known.shape, known.dtype.char)
            found = coded[n] = codes.setdefault(key, len(codes))
        return found
    signature: dict[int, int] = {}
    numbers: dict[Any, int] = {}
    native: dict[int, bool] = {}
    for n in order:
        name, inputs, parameters, _ = program.statements[n]
        if name in MOVE:
            index, *rest = parameters
            parameters = (tuple([terms for _, terms in index]), *rest)
        key = (name, parameters, code(n), tuple([code(i) for i in inputs]))
        k = numbers.setdefault(key, len(numbers))
        if k not in native:
            native[k] = name not in ALONE and not why_called(program, n)
        signature[n] = k if native[k] else -1 - n
    return signature


def readers_of(program: Program, live: list[int]) -> dict[int, list[int]]:
    """The statements that read each statement, in order; -1 stands for the outputs."""
    readers: dict[int, list[int]] = {n: [-1] for n in program.outputs}
    for n in live:
        for i in program.statements[n].inputs:
            found = readers.get(i)
            if found is None:
                readers[i] = [n]
            else:
                found.append(n)
    return readers


def ordered(program: Program, live: list[int], readers: dict[int, list[int]],
            ) -> tuple[list[int], dict[int, int]]:
    """The statements but for leaves, and their signatures; what all turns read stands early.

    So the view of a bias that the first repetition makes, and all of them use, breaks no period.
    Nor does what is only made of results, which stands last.
    """
    nodes = [n for n in live if not is_leaf(program, n)]
    signature = signatures(program, nodes)
    count: dict[int, int] = {}
    for n in nodes:
        count[signature[n]] = count.get(signature[n], 0) + 1
    key: dict[int, float] = {}
    late: set[int] = {-1}
    for n in reversed(nodes):
        if late.issuperset(readers.get(n, ())) and (
                count[signature[n]] == 1 or program.statements[n].name == "view"):
            late.add(n)
    for n in nodes:
        if n in late:
            key[n] = len(program.statements) + n
        elif count[signature[n]] > 1 and not repeatedly_read(readers.get(n, []), signature):
            key[n] = n
        else:
            inputs = program.statements[n].inputs
            key[n] = max([key.get(i, -1) for i in inputs], default=-1) + 0.5
    return sorted(nodes, key=lambda n: (key[n], n)), signature


def repeatedly_read(readers: list[int], signature: dict[int, int]) -> bool:
    """Whether statements of one signature read a value, many of them: once in each turn."""
    if len(readers) < FEWEST:
        return False
    count: dict[int, int] = {}
    for n in readers:
        k = signature.get(n, -1)
        count[k] = count.get(k, 0) + 1
    return max(count.values()) >= FEWEST


def runs(signature: list[int]) -> list[Run]:
    """The periodic stretches of a list of numbers, from left to right, not overlapping."""
    n = len(signature)
    following, last = [0] * n, dict[Any, int]()
    for i in range(n - GRAM, -1, -1):
        gram = tuple(signature[i:i + GRAM])
        following[i], last[gram] = last.get(gram, 0), i
    found: list[Run] = []
    reach: dict[int, int] = {}  # how far a period was followed, so that no place is read twice
    i = 0
    while i < n - GRAM:
        best = longest(signature, following, reach, i)
        if best is None:
            i += 1
        else:
            found.append(best)
            i += best.length // best.period * best.period
    return found


def longest(signature: list[int], following: list[int], reach: dict[int, int], i: int,
            ) -> Run | None:
    """The stretch that begins at one place and covers the most, of the nearest few periods."""
    best: Run | None = None
    j, n = following[i], len(signature)
    for _ in range(TRIED):
        if not j:
            break
        period = j - i
        if best is None or period % best.period:
            end = max(reach.get(period, 0), i)
            while end + period < n and signature[end] == signature[end + period]:
                end += 1
            reach[period] = end
            length = end - i + period
            whole = length // period * period
            if whole >= max(FEWEST * period, SHORTEST) and (
                    best is None or whole > 1.2 * (best.length // best.period * best.period)):
                best = Run(i, period, length)
        j = following[j]
    return best


def rotated(program: Program, order: list[int], place: dict[int, int], run: Run) -> Run:
    """A run begun where the fewest bytes cross from one repetition to the next."""
    start, period = run.start, run.period
    first, end = start + period, start + run.length
    cross = [0] * (3 * period + 2)
    last = {q: q for q in range(first, min(first + period, end))}
    for q in range(first, min(first + 3 * period, end)):
        for i in program.statements[order[q]].inputs:
            at = place.get(i)
            if at in last:
                last[at] = max(last[at], q)
    for a, b in last.items():  # a cut before q crosses this value if a < q <= b
        known = program.statements[order[a]].known
        weight = known.size * known.dtype.itemsize + 1
        for q, w in ((b, weight), (b - period, TWICE * weight)):
            if q > a:
                cross[a - first + 1] += w
                cross[q - first + 1] -= w
    total, sum_so_far = [0] * period, 0
    for q in range(3 * period):
        sum_so_far += cross[q]
        total[q % period] += sum_so_far
    shift = min(range(period), key=lambda q: (total[q], q))
    return Run(start + shift, period, run.length - shift)
