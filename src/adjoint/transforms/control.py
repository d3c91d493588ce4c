"""Control flow on values: scan, map, fori_loop, while_loop and cond, each one recorded step.

The functions given are run once, on values that do not exist yet, and written down as a Body
(`control_graphs.py`); what they close over becomes an argument of the row. The rows stand in
`control_scan.py`, `control_while.py` and `control_cond.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import optree

from adjoint.core.box import Box, bind
from adjoint.core.node import MODES, NO_PARAMS, aval, aval_of, node
from adjoint.core.primitive import LEAF
from adjoint.core.symbol import Symbol
from adjoint.errors import ArgumentError, DTypeError, MutationError, ShapeError
from adjoint.exits import bottom, is_concrete
from adjoint.ops.arithmetic import astype
from adjoint.ops.select import stop_gradient
from adjoint.ops.several import item
from adjoint.scalars import is_changeable, kind_given, stand_ins
from adjoint.tensors import Tensor

from . import control_watched as watched
from .batching import Batch
from .control_arrays import absolve, arrays_of, written
from .control_cond import COND
from .control_graphs import WRITES, Body, Tracing, strong
from .control_scan import SCAN, parts, with_residuals
from .control_watched import fitted, held_as, is_watched, passed
from .control_while import WHILE, Turns, exists
from .trees import (
    NAMESPACE,
    check_function,
    distinct,
    flatten,
    is_number,
    kind_of_all,
    lift,
    result,
    trees_of,
    unflatten,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Function = Any


# ---- writing the functions down

class Argument(NamedTuple):
    """An argument of a function that is written down: its structure, and what its leaves are."""

    structure: Any
    known: Sequence[Any]  # Avals
    kinds: Sequence[str]  # what a change in place of a leaf does (`scalars.py`)


class Written:
    """One function, run once on Symbols of the given Avals."""

    def __init__(self, where: str, f: Function, arguments: Sequence[Argument]) -> None:
        self.where, self.f, self.tracing = where, f, Tracing()
        self.structures = [a.structure for a in arguments]
        self.kinds = [kind for a in arguments for kind in a.kinds]
        with self.tracing.open():
            symbols = [self.tracing.argument(known, kind) for a in arguments
                       for known, kind in zip(a.known, a.kinds, strict=True)]
            self.tree = self.called(f, trees_of(self.structures, symbols))
        self.leaves, self.structure = flatten(self.tree)
        for y in self.leaves:
            result(y, where)

    def called(self, f: Function, trees: Sequence[Any]) -> Any:
        """What ``f`` returns; what is outside of it is afterwards what it was before."""
        arrays = arrays_of(f)
        try:
            y = f(*trees)
        except BaseException:
            self.tracing.restored()
            written(arrays)
            raise
        if written(arrays) or self.tracing.restored():
            raise MutationError(f"{self.where}: {WRITES}")
        absolve(f)
        return y

    def body(self, carries: int = 0) -> tuple[Body, list[Any], list[Tensor]]:
        """The Body of the leaves, the values that it closed over, and Tensors that are state.

        State goes in and comes out behind ``carries``; what is closed over goes in last.
        """
        tracing, own = self.tracing, sum(s.num_leaves for s in self.structures)
        states = {a.node: a for a in tracing.adopted}
        graph = tracing.ended([*self.leaves[:carries], *[a.after for a in states.values()],
                               *self.leaves[carries:]])
        given, rest = graph.inputs[:own], graph.inputs[own:]
        closed = [x for n, x in zip(rest, graph.closed, strict=True) if n not in states]
        graph.inputs = [*given[:carries], *states, *given[carries:],
                        *[n for n in rest if n not in states]]
        graph.closed = []
        tensors = [a.tensor for a in states.values()]
        adopt = getattr(MODES.get().trace, "adopt", None)
        if adopt is not None:  # what is written down around this call has the state too
            for x in tensors:
                adopt(x)
        return graph, closed, tensors

    def again(self, values: Sequence[Any]) -> list[Any]:
        """The leaves of what the function gives for other values, whose kinds stay the same."""
        given = [passed(x, kind) for x, kind in zip(values, self.kinds, strict=True)]
        token = stand_ins.set("tensor" not in self.kinds)
        try:
            leaves = flatten(self.f(*trees_of(self.structures, given)))[0]
        finally:
            stand_ins.reset(token)
        return [fitted(y, a) for y, a in zip(leaves, self.known(), strict=True)]

    def known(self) -> list[Any]:
        """The Avals of the leaves."""
        return [strong(aval_of(y)) for y in self.leaves]

    def adopt(self, known: Sequence[Any], first: int = 0) -> None:
        """Give Python numbers among the leaves the dtype that is expected of them."""
        for k, a in enumerate(known, first):
            y = self.leaves[k]
            if is_number(y) and adopted_dtype(y, a.dtype) == a.dtype:
                self.leaves[k] = in_dtype(y, a.dtype)


def adopted_dtype(y: Any, dtype: Any) -> Any:
    """The dtype of a number of Python's where it meets one."""
    return np.result_type(aval_of(y).dtype.type(0).item(), dtype)


def in_dtype(y: Any, dtype: Any) -> Any:
    """A number in a dtype."""
    return astype(y, dtype) if isinstance(y, Box) else np.asarray(y, dtype)[()]


def path_of(name: str, path: tuple[Any, ...]) -> str:
    """A leaf of a tree as one writes it."""
    return name + "".join(f"[{p!r}]" for p in path)


def names_of(name: str, tree: Any) -> list[str]:
    """The leaves of a tree as one writes them."""
    return [path_of(name, p) for p in optree.tree_paths(tree, namespace=NAMESPACE)]


def shown(structure: Any) -> str:
    """A structure as text."""
    return str(structure).removeprefix("PyTreeSpec(").rpartition(")")[0].removesuffix(
        f", namespace={NAMESPACE!r}")


class Carry:
    """The initial carry: its leaves, and their Avals, which every turn keeps."""

    def __init__(self, where: str, init: Any) -> None:
        self.where = where
        self.given, self.structure = flatten(init)
        self.names = names_of("carry", init)
        self.values = [lift(x) for x in self.given]
        self.known = [strong(aval_of(v)) for v in self.values]
        self.kinds = [kind_given(x) for x in self.given]

    def argument(self) -> Argument:
        """The carry as the argument of a function."""
        return Argument(self.structure, self.known, self.kinds)

    def written(self, f: Function, after: Sequence[Argument],
                pick: Callable[[Any], Any] = lambda out: out) -> Written:
        """``f(carry, *after)`` written down; ``pick`` takes the carry out of the result.

        A Python number among the initial values adopts the dtype that the body gives it.
        """
        while True:
            w = Written(self.where, f, [self.argument(), *after])
            leaves, structure = flatten(pick(w.tree))
            if structure != self.structure:
                raise ArgumentError(
                    f"{self.where}: the carry comes in as {shown(self.structure)} and goes out as "
                    f"{shown(structure)} (* is an array or a number); return what came in, changed "
                    "in its values alone")
            w.adopt(self.known)
            if not self.promoted(w.leaves[:len(leaves)]):
                return w

    def promoted(self, leaves: Sequence[Any]) -> bool:
        """Whether a number of the initial carry was given another dtype; an error for the rest."""
        again = False
        for k, (y, known) in enumerate(zip(leaves, self.known, strict=True)):
            got = strong(aval_of(y))
            if got == known:
                continue
            dtype = np.result_type(got.dtype, known.dtype)
            weak = is_number(self.given[k]) and not got.shape and dtype != known.dtype
            if not weak:
                raise self.changed(k, known, got)
            self.values[k], again = in_dtype(self.values[k], dtype), True
            self.known[k] = aval_of(self.values[k])
        return again

    def changed(self, k: int, known: Any, got: Any) -> Exception:
        """The error for a leaf that is another array after a turn."""
        name = self.names[k]
        text = f"{self.where}: {name} comes in as {known} and goes out as {got}; "
        if got.shape != known.shape:
            return ShapeError(text + "every turn gives back the shape it got. Begin with an array "
                              f"of that shape, such as np.zeros({got.shape}), or reduce it")
        return DTypeError(text + f"write .astype({str(known.dtype)!r}) in the function, or begin "
                          f"with {got.dtype}")


def elements(structure: Any, columns: Sequence[Any]) -> Argument:
    """One row of each of some arrays as an argument; NumPy has a scalar where no axis is left."""
    known = [aval_of(x) for x in columns]
    return Argument(structure, [aval(a.shape[1:], a.dtype) for a in known],
                    ["tensor" if kind_given(x) == "tensor" else "number" for x in columns])


# ---- results

def moved_on(y: Any, at: int, states: Sequence[Tensor], count: int) -> Any:
    """The ``count`` results of a row without those at ``at``, which Tensors that are state get."""
    if not states:
        return y
    found = parts(y, count + len(states))
    for x, value in zip(states, found[at:at + len(states)], strict=True):
        while isinstance(value, Box) and value.level > 0:
            value = value.value[0] if isinstance(value, Batch) else value.value
        x.value = value.value if isinstance(value, Tensor) else value
    return [*found[:at], *found[at + len(states):]]

def finished(y: Any, kinds: Sequence[Callable[[Any], Any]]) -> list[Any]:
    """The first results of a row with several, in their kinds; integers carry no derivative.

    Without axes they are scalars: which branch a function takes does not decide about that.
    """
    out: list[Any] = []
    for k, kind in enumerate(kinds):
        x = item(y, index=k) if isinstance(y, Box) else y[k]
        x = held_as(x, array=False) if is_changeable(x) else x
        out.append(kind(stop_gradient(x) if isinstance(x, Box) and not x.aval.inexact else x))
    return out


def scanned(w: Written, values: Sequence[Any], stacks: int, carries: int, count: int,
            reverse: bool, given: tuple[list[Any], list[Any]]) -> list[Any]:
    """Bind the row `scan`; ``given`` are the leaves of the carry and of the stacks."""
    if is_watched():
        y: Any = watched.scanned(w.again, values[:carries], values[carries:], count, reverse,
                                 w.known())
    else:
        graph, closed, states = w.body(carries)
        y = with_residuals(SCAN, [*values[:carries], *states, *values[carries:], *closed], {
            "graph": graph, "carries": carries + len(states), "stacks": stacks, "count": count,
            "reverse": reverse})
        y = moved_on(y, carries, states, len(w.leaves))
    state, every = given[0], [*given[0], *given[1]]
    if any(isinstance(x, Tensor) for x in every):
        state = every
    kinds = [kind_of_all(state)] * carries + [kind_of_all(every)] * (len(w.leaves) - carries)
    return finished(y, kinds)


def scan(f: Function, init: Any, xs: Any = None, length: int | None = None,
         reverse: bool = False) -> tuple[Any, Any]:
    """A loop that hands a value from turn to turn and stacks what each turn yields; one step.

        carry, y_t = f(carry, x_t),    t = 0 ... n - 1

    Args:
        f: a function of the carry and of one element of each leaf of ``xs``; it returns the next
            carry, of equal structure, shapes and dtypes, and a tree of anything (or None).
        init: the first carry, a tree.
        xs: a tree of arrays whose first axes have one length; None for none.
        length: the number of turns; needed if ``xs`` has no leaves.
        reverse: begin with the last element; what is stacked keeps the order of ``xs``.

    Returns (carry, ys). f runs once, on values that do not exist yet: it cannot branch on them. The
    gradient is a scan too, in linear time. Raises ArgumentError, ShapeError or DTypeError where the
    carry changes its structure, shape or dtype, ShapeError where lengths differ.

    >>> ad.scan(lambda c, x: (c + x, c * x), 0.0, np.array([1.0, 2.0, 3.0]))
    (6.0, array([0., 2., 9.]))
    """
    where = "ad.scan(f, init, xs)"
    check_function(f, where)
    carry = Carry(where, init)
    columns, row, count = stacks_of(where, xs, length)
    w = carry.written(f, [row], lambda out: pair(where, out)[0])
    out = scanned(w, [*carry.values, *columns], len(columns), len(carry.known), count,
                  bool(reverse), (carry.given, flatten(xs)[0]))
    return unflatten(w.structure, out)


def pair(where: str, out: Any) -> tuple[Any, Any]:
    """The carry and the element that a function of `scan` returned."""
    if not isinstance(out, tuple) or len(out) != 2:
        raise ArgumentError(f"{where}: f returns a pair (carry, y), not {type(out).__name__}; "
                            "write `return carry, None` where nothing is stacked")
    return out


def stacks_of(where: str, xs: Any, length: int | None) -> tuple[list[Any], Argument, int]:
    """The leaves of ``xs``, one element of each as an argument, and their length."""
    given, structure = flatten(xs)
    columns, names = [lift(x) for x in given], names_of("xs", xs)
    sizes: dict[str, int] = {} if length is None else {"length": turns_of(where, length)}
    for name, x in zip(names, columns, strict=True):
        if not aval_of(x).shape:
            raise ShapeError(f"{where}: {name} is one number and has no axis to go along; a list "
                             "is several arguments: np.array(list) is one")
        sizes[name] = aval_of(x).shape[0]
    if not sizes:
        raise ArgumentError(f"{where}: xs holds no array, so the number of turns is not known; "
                            "give length=n")
    if len(set(sizes.values())) > 1:
        told = ", ".join(f"{name}: {n}" for name, n in sizes.items())
        raise ShapeError(f"{where}: the lengths differ ({told}); all leaves of xs, and length, are "
                         "one number of turns")
    return columns, elements(structure, given), next(iter(sizes.values()))


def turns_of(where: str, length: Any) -> int:
    """A number of turns that is known."""
    n = integer(length)
    if n is None or n < 0:
        raise ArgumentError(f"{where}: length={length!r} is not a number of turns: an integer from "
                            "0 that is known now (ad.fori_loop takes computed bounds)")
    return n


def integer(x: Any) -> int | None:
    """The integer that ``x`` is; None if it is none, or not known yet."""
    if isinstance(x, Box):
        x = bottom(x) if is_concrete(x) else None
    if isinstance(x, (int, np.integer)) and not isinstance(x, bool):
        return int(x)
    is_integer = isinstance(x, np.ndarray) and not x.ndim and x.dtype.kind in "iu"
    return int(x) if is_integer else None


def map(f: Function, xs: Any) -> Any:
    """``f`` on each element along the first axis, one after the other, the results stacked.

        y_t = f(x_t)

    For all at once, with more memory and often faster, write `ad.vmap`. Raises as `scan` does.

    >>> ad.map(lambda x: x ** 2, np.array([1.0, 2.0, 3.0]))
    array([1., 4., 9.])
    """
    where = "ad.map(f, xs)"
    check_function(f, where)
    columns, row, count = stacks_of(where, xs, None)
    w = Written(where, f, [row])
    return unflatten(w.structure, scanned(w, columns, len(columns), 0, count, False,
                                          ([], flatten(xs)[0])))


def fori_loop(lower: Any, upper: Any, body_fun: Function, init: Any) -> Any:
    """``carry = body_fun(i, carry)`` for i from ``lower`` to ``upper - 1``; one recorded step.

    With bounds that are known it is a `scan`; with computed ones a `while_loop`. Raises as `scan`
    does, and ArgumentError for bounds that are no integers.

    >>> ad.fori_loop(0, 5, lambda i, x: x * 2.0, 1.0)
    32.0
    """
    where = "ad.fori_loop(lower, upper, body_fun, init)"
    check_function(body_fun, where)
    first, end = integer(lower), integer(upper)
    for x in (lower, upper):
        known = aval_of(x)
        if known.shape or known.dtype.kind not in "iu":
            raise ArgumentError(f"{where}: a bound is an integer, not {x!r}")
    if first is None or end is None:
        out = while_loop(lambda s: s[0] < upper, lambda s: (s[0] + 1, body_fun(*s)),
                         (lift(lower) + np.int64(0), init))
        (leaves, structure), kind = flatten(out[1]), kind_of_all(flatten(init)[0])
        return unflatten(structure, [kind(x) for x in leaves])  # whatever the index is
    carry, numbers = Carry(where, init), np.arange(first, max(first, end))
    w = carry.written(lambda c, i: body_fun(i, c), [elements(flatten(0)[1], [numbers])])
    return unflatten(w.structure, scanned(w, [*carry.values, numbers], 1, len(carry.known),
                                          len(numbers), False, (carry.given, [])))


def while_loop(cond_fun: Function, body_fun: Function, init: Any) -> Any:
    """``carry = body_fun(carry)`` as long as ``cond_fun(carry)`` holds; one recorded step.

    The number of turns may depend on the values. Forward mode carries the tangents along; reverse
    mode runs the turns once more, now that their number is known, as a `scan`. Under `vmap` it runs
    until all elements have ended, and those that have keep their values. Raises as `scan` does, and
    ArgumentError if ``cond_fun`` does not give one truth value.

    >>> ad.while_loop(lambda x: x < 100.0, lambda x: x * x, 3.0)
    6561.0
    """
    where = "ad.while_loop(cond_fun, body_fun, init)"
    check_function(cond_fun, where)
    check_function(body_fun, where)
    carry = Carry(where, init)
    w = carry.written(body_fun, ())
    test = Written(where, cond_fun, [carry.argument()])
    check_truth(f"{where}: cond_fun", test.leaves, test.tree)
    y: Any = None
    if is_watched():
        y = watched.looped(lambda s: test.again(s)[0], w.again, carry.values)
    if y is None:
        own = len(carry.known)
        if any(isinstance(a.after, Symbol) and a.after.node is not a.node
               for a in test.tracing.adopted):
            raise MutationError(f"{where}: cond_fun draws random numbers; draw in body_fun, and "
                                "put what the test needs into the carry")
        condition, body, closed, states = side_by_side(test, w, own, own)
        condition.outputs = condition.outputs[:1]
        y = bind(WHILE, [*carry.values, *states, *closed],
                 {"function": Turns(condition, body, own + len(states))})
        y = moved_on(y, own, states, own)
    return unflatten(w.structure, finished(y, [kind_of_all(carry.given)] * len(w.leaves)))


def check_truth(what: str, leaves: Sequence[Any], tree: Any) -> None:
    """An error unless a tree is one truth value."""
    known = strong(aval_of(leaves[0])) if len(leaves) == 1 else None
    if known is None or leaves[0] is not tree:
        raise ArgumentError(f"{what} gives one truth value, not {tree!r}")
    if known.shape or known.dtype.kind not in "biu":
        raise ArgumentError(f"{what} gives one truth value, not {known}; compare, as in x > 0, and "
                            "reduce an array with np.all or np.any")


def cond(pred: Any, true_fun: Function, false_fun: Function, *operands: Any) -> Any:
    """``true_fun(*operands)`` if ``pred`` holds, else ``false_fun(*operands)``; one recorded step.

    Both functions are written down, one is run. They return trees of one structure, with leaves of
    equal shapes and dtypes. Under `vmap` with a ``pred`` for each element both run, and
    `ad.where` chooses. Raises ArgumentError, ShapeError or DTypeError where the results differ.

    >>> ad.grad(lambda x: ad.cond(x > 0, lambda x: x ** 2, lambda x: -x, x))(3.0)
    6.0
    """
    where = "ad.cond(pred, true_fun, false_fun, ...)"
    for f in (true_fun, false_fun):
        check_function(f, where)
    check_truth(f"{where}: pred", [pred], pred)
    given = flatten(operands)[0]
    values = [lift(x) for x in given]
    known = iter([strong(aval_of(v)) for v in values])
    arguments = [Argument(s, [next(known) for _ in leaves], [kind_given(x) for x in leaves])
                 for leaves, s in [flatten(o) for o in operands]]
    yes, no = (Written(where, f, arguments) for f in (true_fun, false_fun))
    check_branches(where, yes, no)
    if is_watched() and exists(pred):
        taken = yes if bool(bottom(pred)) else no
        y: Any = taken.again(values)
        closed = []
    else:
        false, true, closed, states = side_by_side(no, yes, len(values), 0)
        y = bind(COND, [lift(pred), *states, *values, *closed], {"branches": (false, true)})
        y = moved_on(y, 0, states, len(yes.leaves))
        y = y if isinstance(y, Box) else distinct(y)
    return unflatten(yes.structure, finished(y, [kind_of_all(given or closed)] * len(yes.leaves)))


def check_branches(where: str, yes: Written, no: Written) -> None:
    """An error unless two branches give the same: a structure, and an Aval for each leaf."""
    if yes.structure != no.structure:
        raise ArgumentError(f"{where}: true_fun returns {shown(yes.structure)} and false_fun "
                            f"{shown(no.structure)} (* is an array or a number); both return one "
                            "structure")
    for one, other in ((yes, no), (no, yes)):
        one.adopt([aval_of(y) for y in other.leaves])
    for name, a, b in zip(names_of("result", yes.tree), yes.leaves, no.leaves, strict=True):
        a, b = strong(aval_of(a)), strong(aval_of(b))
        if a != b:
            error = ShapeError if a.shape != b.shape else DTypeError
            raise error(f"{where}: {name} is {a} if pred holds and {b} if not; both branches give "
                        "one shape and one dtype (write .astype(...), np.broadcast_to(...))")


def side_by_side(one: Written, other: Written, own: int, carries: int
                 ) -> tuple[Body, Body, list[Any], list[Tensor]]:
    """Two Bodies with the same inputs: ``own`` arguments, state, and what either closed over."""
    for w, v in ((one, other), (other, one)):
        for a in v.tracing.adopted:
            if all(a.tensor is not b.tensor for b in w.tracing.adopted):
                w.tracing.adopt(a.tensor)
                w.tracing.restored()
    order = {id(a.tensor): k for k, a in enumerate(one.tracing.adopted)}
    other.tracing.adopted.sort(key=lambda a: order[id(a.tensor)])
    (a, read, states), (b, closed, _) = one.body(carries), other.body(carries)
    own += len(states)
    a.inputs += [node(LEAF, (), NO_PARAMS, None, x.aval) for x in closed]
    b.inputs[own:own] = [node(LEAF, (), NO_PARAMS, None, x.aval) for x in read]
    return a, b, [*read, *closed], states
