"""How a product is cut: the tile that stays in registers, and what is packed. No code is made here.

``planned`` reads what is known of a ``dot`` statement and gives a `Plan`; start there. A tile is
``rows`` by ``vectors`` registers of sums. The schemes, of which each is a class of loops:

* small: each tile runs over all of k; its right side is packed if its rows are far apart.
* large: a panel of the right side would leave the second cache, so k is cut and all is packed.
* inner: few rows by a right side that lies along k; lanes run over k, nothing is packed.
* sweep: one or two rows by a matrix beyond the caches, which is read once from end to end.
* external: BLAS, where it was measured to be faster.

Where a result has few columns its transpose is computed (``swapped``), so that lanes are full. If
they are not much fewer than lanes, it is ``turned`` in registers before anything is made of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from .blas import NEVER, limit
from .evaluator import strides_of
from .functions_ir import CURVED
from .views import substituted

if TYPE_CHECKING:
    from collections.abc import Collection

    from .program import Program

UNROLLED = 4     # turns of k in one turn of the loop
NEAR = 3 << 13   # bytes of a panel that stay in the innermost cache
PANEL = 1 << 19  # bytes of a panel that stay in the next one
FAR = 2048       # bytes between rows from which a right side that is read often is packed
OFTEN = 12       # tiles that read it
HIGH = 8         # rows of a tile at most: if they are far apart, their lines compete for a cache
SWEPT = 2        # rows up to which a large right side is read row by row
BEYOND = 1 << 20  # bytes of it
THICK = 64       # the smallest size of a product for which BLAS may be called
FEW = 12         # rows below which a right side along k is not packed
INNER = 4        # rows of a tile whose lanes run over k
TURNED = 8       # products that a lane must save for the result to be turned
HIDDEN = 8       # sums that must be under way for none to wait for another
BROAD = 1 << 16  # elements of the side that is then read for each strip
LINE = 64
WAITING = 1 << 13  # bytes of sums that wait for a long formula


class Shape(NamedTuple):
    """The sizes of the product; ``swapped`` says that its rows are the statement's columns.

    ``turned``: its tiles are transposed again, so lanes run over the statement's columns at last.
    """

    batch: tuple[int, ...]
    rows: int
    columns: int
    swapped: bool
    turned: bool = False


class Seen(NamedTuple):
    """An operand as memory: the statement that is stored, the first element, a stride per axis."""

    buffer: int
    start: int
    strides: tuple[int, ...]


class Side(NamedTuple):
    """One operand of one pair: where it is, whether it is packed, and which axis lanes run over.

    ``along`` is True where lanes run over k. ``region`` is where it is packed, in elements.
    """

    statement: int
    packed: bool
    along: bool
    region: int


class Plan(NamedTuple):
    """The decisions for one product."""

    shape: Shape
    lanes: int
    rows: int
    vectors: int
    scheme: str                           # small, large, inner, sweep or external
    depths: tuple[int, ...]               # of k, for each pair
    pairs: tuple[tuple[Side, Side], ...]  # left, right
    region: int                           # of partial sums, in elements
    elements: int                         # of scratch memory
    deep: int                             # of k, in a block
    block: int = 0                        # rows whose sums wait together; 0 if none do
    summed: tuple[int, ...] = ()          # axes of the batch over which something is summed

    @property
    def turns(self) -> int:
        """The turns of k in one turn of the loop over a block."""
        return min(UNROLLED, self.lanes)

    @property
    def width(self) -> int:
        """The columns of a tile."""
        return self.vectors * self.lanes

    def show(self) -> str:
        """The decisions as a line of text."""
        s, depths = self.shape, " + ".join(map(str, self.depths)) or "0"
        batch = "".join(f"{n} x " for n in s.batch)
        packed = [f"{which} {j}" for j, pair in enumerate(self.pairs)
                  for which, side in zip(("left", "right"), pair, strict=True) if side.packed]
        return (f"{self.scheme}: {batch}({s.rows}, {depths}) by ({depths}, {s.columns})"
                + (", transposed" if s.swapped else "") + (" and back" if s.turned else "")
                + f"; tiles of {self.rows} rows by {self.vectors} x {self.lanes} lanes"
                + (f"; k in blocks of {self.deep}" if self.deep else "")
                + (f"; packed: {', '.join(packed)}" if packed else ""))


def seen(program: Program, stored: set[int], x: int) -> Seen | None:
    """An operand as memory, through any views; None for an expression."""
    rank = len(program.statements[x].known.shape)
    index: Any = tuple([(0, ((d, 1),)) for d in range(rank)])
    while x not in stored:
        s = program.statements[x]
        if s.name != "view":
            return None
        index = tuple([substituted(entry, index) for entry in s.parameters[0]])
        (x,) = s.inputs
    start, strides = 0, [0] * rank
    for (offset, terms), stride in zip(index, strides_of(program.statements[x].known.shape),
                                       strict=True):
        start += offset * stride
        for d, step in terms:
            strides[d] += step * stride
    return Seen(x, start, tuple(strides))


def lies_along(program: Program, stored: set[int], x: int, axis: int) -> bool:
    """Whether neighbours in memory are neighbours along an axis, by most of what is read."""
    shape = program.statements[x].known.shape
    rank = len(shape)
    waiting: list[tuple[int, Any]] = [(x, tuple([(0, ((d, 1),)) for d in range(rank)]))]
    votes, visited = 0, set[int]()
    while waiting:
        n, index = waiting.pop()
        if n in visited:
            continue
        visited.add(n)
        s = program.statements[n]
        if n in stored:
            steps = [0] * rank
            for (_, terms), stride in zip(index, strides_of(s.known.shape), strict=True):
                for d, step in terms:
                    steps[d] += step * stride
            other = rank - 1 if axis == rank - 2 else rank - 2
            votes += (steps[axis] == 1) - (steps[other] == 1 and shape[other] > 1)
        elif s.name == "view":
            waiting.append((s.inputs[0],
                            tuple([substituted(entry, index) for entry in s.parameters[0]])))
        elif s.name != "pick":
            waiting += [(i, index) for i in s.inputs]
    return votes > 0


def registers(vector_bytes: int, fused: bool) -> int:
    """The vector registers of the processor: AVX-512 and aarch64 have 32, x86 else 16."""
    return 32 if vector_bytes == 64 or (vector_bytes == 16 and fused) else 16


def tile(rows: int, columns: int, lanes: int, count: int, fused: bool,
         far: bool) -> tuple[int, int]:
    """The rows and vectors of the tile that covers a product in the least time.

    One register is left for each vector of the right operand and one for the element of the left
    one; where a product is not fused with its sum, much of the rest is busy too. ``far``: a panel
    of the right operand is larger than the innermost cache, so a vector of it costs more.
    """
    best = (float("inf"), 1, 1)
    for vectors in range(1, 17 if rows == 1 else 9):
        most = min(count - vectors - 1, count if fused else count * 9 // 16) // vectors
        most = min(most, rows, 2 * HIGH if vectors == 1 and count > 16 else HIGH)
        if most < 1 or (vectors > 1 and (vectors - 1) * lanes >= columns):
            continue
        for height in range(1, most + 1):
            cost = time(rows, columns, lanes, height, vectors, far)
            best = min(best, (cost, height, vectors))
    return best[1:]


def time(rows: int, columns: int, lanes: int, height: int, vectors: int, far: bool) -> float:
    """Half cycles for one turn of k over all tiles, and a little for each kind of tile."""
    total, kinds, cost = 0.0, 0, 3 if far else 1
    for high, panels in ((height, rows // height), (rows % height, 1)):
        for wide, strips in ((vectors, columns // (vectors * lanes)),
                             (-(-(columns % (vectors * lanes)) // lanes), 1)):
            if high and wide and panels and strips:
                kinds += 1
                total += panels * strips * (max(high * wide, 8) + (high + cost * wide) / 4)
    return total * (1 + 0.02 * kinds)


def planned(program: Program, n: int, stored: set[int], vector_bytes: int, fused: bool,
            roots: Collection[int] = ()) -> Plan:
    """The decisions for statement ``n``; ``stored`` are the statements that are in memory.

    ``roots`` are what is made of the product in its kernel.
    """
    s = program.statements[n]
    *batch, rows, columns = s.known.shape
    lanes = vector_bytes // s.known.dtype.itemsize
    # A pair without k adds nothing.
    inputs = [(x, z) for x, z in zip(s.inputs[::2], s.inputs[1::2], strict=True)
              if program.statements[x].known.shape[-1]]
    lefts = [x for x, _ in inputs]
    turned = is_turned(program, stored, lefts, (rows, columns), lanes)
    swapped = turned or is_narrow(program, stored, lefts, (rows, columns), lanes)
    shape = Shape(tuple(batch), *((columns, rows) if swapped else (rows, columns)), swapped, turned)
    depths = tuple([program.statements[x].known.shape[-1] for x, _ in inputs])
    count = registers(vector_bytes, fused)
    size = s.known.dtype.itemsize
    far = max(depths, default=0) * min(shape.columns, 4 * lanes) * size > NEAR
    height, vectors = tile(shape.rows, shape.columns, lanes, count, fused, far)
    if turned:
        height = -(-columns // -(-columns // lanes))
        vectors = -(-HIDDEN // height)
    plan = Plan(shape, lanes, height, vectors, "small", depths, (), 0, 0, 0)
    if is_external(program, stored, plan, inputs, limit(s.known.dtype.name, vector_bytes)):
        plan = plan._replace(scheme="external")
    elif is_inner(program, stored, plan, inputs):
        plan = plan._replace(scheme="inner", rows=min(shape.rows, INNER), vectors=1)
    elif is_large(plan, size):
        plan = cut(plan, size)
    found = regions(program, stored, plan, inputs, size)
    if is_swept(found, size):
        found = regions(program, stored, plan._replace(scheme="sweep", vectors=4), inputs, size)
    summed = {d for r in roots if program.statements[r].name == "reduce"
              for d in program.statements[r].parameters[1]}
    found = found._replace(summed=tuple(sorted(summed)))
    return waiting(found, size) if is_curved(program, n, stored, roots) else found


def is_curved(program: Program, n: int, stored: set[int], roots: Collection[int]) -> bool:
    """Whether something between a product and its roots is a long formula."""
    seen, left = {n}, [*roots]
    while left:
        i = left.pop()
        if i in seen or i in stored:
            continue
        seen.add(i)
        s = program.statements[i]
        if s.name == "elementwise" and s.parameters[0] in CURVED:
            return True
        left += s.inputs
    return False


def waiting(plan: Plan, size: int) -> Plan:
    """The plan with sums that wait in memory for a long formula, which has a loop of its own.

    Among the sums of a tile there would be no registers for what it needs.
    """
    if plan.scheme != "small" or plan.shape.turned:
        return plan
    tiles = max(WAITING // (plan.width * plan.rows * size), 1)
    block = min(tiles, -(-plan.shape.rows // plan.rows)) * plan.rows
    return plan._replace(block=block, elements=plan.region + block * plan.width)


def is_narrow(program: Program, stored: set[int], lefts: list[int], sizes: tuple[int, int],
              lanes: int) -> bool:
    """Whether lanes run over rows: there are too few columns to fill them, and rows enough.

    The left side, which then is the one that is read by vectors, must allow it without packing.
    """
    rows, columns = sizes
    if columns == 1 or not columns or not lefts:
        return columns == 1 and rows > 1
    if 2 * columns > lanes or rows < 2 * lanes:
        return False
    for x in lefts:
        found, depth = seen(program, stored, x), program.statements[x].known.shape[-1]
        if found is None or depth < UNROLLED or not (
                found.strides[-2] == 1 or (found.strides[-1] == 1 and depth >= 2 * lanes)):
            return False
    return True


def is_turned(program: Program, stored: set[int], lefts: list[int], sizes: tuple[int, int],
              lanes: int) -> bool:
    """Whether lanes run over rows because columns would leave many lanes empty.

    The left side lies along the rows then, and there are products enough to pay for turning.
    """
    rows, columns = sizes
    whole, found = up(columns, lanes), [seen(program, stored, x) for x in lefts]
    depth = sum([program.statements[x].known.shape[-1] for x in lefts])
    return (lanes < 2 * columns <= 4 * lanes and 4 * columns <= 3 * whole and rows >= 2 * lanes
            and depth * (whole - columns) >= TURNED * whole and depth * columns <= BROAD
            and all(f is not None and 1 in f.strides[-2:] for f in found))


def is_external(program: Program, stored: set[int], plan: Plan, inputs: list[tuple[int, int]],
                side: float) -> bool:
    """Whether BLAS computes the product: it is large, and both sides are matrices in memory."""
    rows, columns = plan.shape.rows, plan.shape.columns
    if side == NEVER or plan.shape.swapped or not inputs or (
            min(rows, columns, *plan.depths) < THICK
            or rows * columns * sum(plan.depths) < side ** 3):
        return False
    return all(is_matrix(program, stored, x) and is_matrix(program, stored, z) for x, z in inputs)


def is_matrix(program: Program, stored: set[int], x: int) -> bool:
    """Whether the lines along one of the last two axes are contiguous and do not overlap."""
    found, (*_, m, n) = seen(program, stored, x), program.statements[x].known.shape
    if found is None:
        return False
    far, near = found.strides[-2:]
    return (near == 1 and far >= n) or (far == 1 and near >= m)


def is_swept(plan: Plan, size: int) -> bool:
    """Whether hardly any rows meet a right side beyond the caches, which is read row by row."""
    return (0 < plan.shape.rows <= SWEPT and plan.scheme == "small" and bool(plan.pairs)
            and not any(right.packed for _, right in plan.pairs)
            and plan.shape.columns * size >= FAR
            and sum(plan.depths) * plan.shape.columns * size >= BEYOND)


def is_inner(program: Program, stored: set[int], plan: Plan,
             inputs: list[tuple[int, int]]) -> bool:
    """Whether few rows meet a right side that lies along k: lanes then run over k themselves."""
    if not 0 < plan.shape.rows < FEW or not inputs or min(plan.depths) < 2 * plan.lanes:
        return False
    for x, z in inputs:
        along, across = (-1, -2) if plan.shape.swapped else (-2, -1)
        found = seen(program, stored, x if plan.shape.swapped else z)
        if found is None or found.strides[along] != 1 or (
                found.strides[across] == 1 and plan.shape.columns > 1):
            return False
        left, axis = (z if plan.shape.swapped else x), len(found.strides) + across
        if plan.shape.columns < 4 * plan.lanes and not lies_along(program, stored, left, axis):
            return False  # packing it would not pay
    return True


def is_large(plan: Plan, size: int) -> bool:
    """Whether a panel of the right side is too large to be read again and again."""
    depth = max(plan.depths, default=0)
    return depth * plan.width * size > PANEL * 3 // 2 and plan.shape.rows >= 4 * plan.rows


def cut(plan: Plan, size: int) -> Plan:
    """The plan in blocks of equal sizes."""
    depth, most = max(plan.depths), max(PANEL // (plan.width * size), 1)
    deep = up(-(-depth // -(-depth // most)), max(plan.lanes, UNROLLED))
    return plan._replace(scheme="large", deep=deep)


def up(n: int, step: int) -> int:
    """The multiple of a step that is not smaller."""
    return -(-n // step) * step


def regions(program: Program, stored: set[int], plan: Plan, inputs: list[tuple[int, int]],
            size: int) -> Plan:
    """The plan with its scratch memory laid out."""
    pairs: list[tuple[Side, Side]] = []
    line, end = LINE // size, 0
    for (x, z), depth in zip(inputs, plan.depths, strict=True):
        sides: list[Side] = []
        for k, side in enumerate((z, x) if plan.shape.swapped else (x, z)):
            rank = len(program.statements[side].known.shape)
            axis = rank - 1 if (k == 0) != plan.shape.swapped else rank - 2  # of k
            along = plan.scheme == "inner" or lies_along(program, stored, side, axis)
            packed = is_packed(plan, seen(program, stored, side), k, axis, size)
            sides.append(Side(side, packed, along, end))
            if packed:
                end += up(panel(plan, depth, k), line)
        pairs.append((sides[0], sides[1]))
        if plan.scheme == "large" and len(pairs) < len(inputs):
            end = 0  # pairs take turns
    rows, columns = plan.shape.rows, plan.shape.columns
    whole = up(columns, plan.width)
    waiting = {"small": 0, "inner": plan.rows * plan.lanes, "sweep": plan.rows * whole,
               "large": up(rows, plan.rows) * whole, "external": rows * columns}[plan.scheme]
    return plan._replace(pairs=tuple(pairs), region=end, elements=end + waiting)


def panel(plan: Plan, depth: int, k: int) -> int:
    """The elements that a packed side takes; a row's last vector may be written beyond its end."""
    deep = plan.deep if plan.scheme == "large" else up(depth, plan.lanes)
    return deep * (plan.width if k else up(plan.shape.rows, plan.rows)) + plan.lanes


def is_packed(plan: Plan, found: Seen | None, k: int, axis: int, size: int) -> bool:
    """Whether a side is copied first: an expression, lanes that lie apart, or rows far apart."""
    if found is None or plan.scheme == "large":
        return True
    if plan.scheme == "external":
        return False
    if plan.scheme == "inner":
        return found.strides[axis] != 1
    if k == 0:
        return False
    step = found.strides[axis]
    other = found.strides[-1 if axis == len(found.strides) - 2 else -2]
    if other != 1 and plan.shape.columns > 1:
        return True
    return step * size >= FAR and plan.shape.rows >= OFTEN * plan.rows and max(plan.depths) >= 64
