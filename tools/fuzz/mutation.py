"""Wrong rules on purpose: what the fuzz must find.

A rule is replaced in the row itself, which Nodes, flat functions and the registry share, so that
every holder sees the change; how often the wrong rule ran is counted.
"""

from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

import adjoint as ad
from adjoint.core.box import Box
from adjoint.core.primitive import PUBLIC, REGISTRY

from .drawing import draw
from .examine import examine
from .programs import operations

KINDS = ("sign", "scale", "drop", "element", "detach")


@dataclass
class Mutation:
    """Part ``part`` of the vjp or jvp of a row, changed in one of the ways of KINDS."""

    row: str
    rule: str
    kind: str
    part: int
    ran: int = 0

    def __str__(self):
        return f"{self.kind} in part {self.part} of the {self.rule} of {self.row}"


def changed(kind, x):
    """A derivative made wrong, in the library's own operations."""
    if isinstance(x, tuple):
        return type(x)(None if p is None else changed(kind, p) for p in x)
    if kind == "sign":
        return -x
    if kind == "scale":
        return x * 1.01
    if kind == "drop":
        return x * 0.0
    if kind == "detach":  # right at order 1, wrong at order 2
        return PUBLIC["stop_gradient"](x)
    mask = np.ones(x.shape)
    mask.flat[:1] = 0.5  # one element only
    return x * mask.astype(x.dtype) if isinstance(x, Box) or hasattr(x, "dtype") else x


@contextmanager
def mutated(mutation):
    """The row with a wrong rule, within the block."""
    row = REGISTRY[mutation.row]
    right = getattr(row, mutation.rule)

    def vjp(dy, y, *xs_needs, **params):
        parts = list(right(dy, y, *xs_needs, **params))
        if mutation.part < len(parts) and parts[mutation.part] is not None:
            mutation.ran += 1
            parts[mutation.part] = changed(mutation.kind, parts[mutation.part])
        return tuple(parts)

    def jvp(dxs, y, *xs, **params):
        dxs = list(dxs)
        if mutation.part < len(dxs) and dxs[mutation.part] is not None:
            mutation.ran += 1
            dxs[mutation.part] = changed(mutation.kind, dxs[mutation.part])
        return right(dxs, y, *xs, **params)
    object.__setattr__(row, mutation.rule, {"vjp": vjp, "jvp": jvp}[mutation.rule])
    try:
        yield mutation
    finally:
        object.__setattr__(row, mutation.rule, right)


def drawn(rng, count):
    """Random mutations of different rows: of an argument in which the row has a derivative."""
    names = [name for name, o in operations().items()
             if o.row is not None and not o.nondiff and o.row.vjp and o.row.jvp]
    found = []
    for name in rng.permutation(names):
        arity = differentiable(operations()[str(name)])
        if not arity:
            continue  # such as heaviside, flat at every regular point: no rule to make wrong
        if len(found) == count:
            break
        found.append(Mutation(str(name), str(rng.choice(["vjp", "jvp"])),
                              str(rng.choice(KINDS)), int(rng.choice(arity))))
    return found


def differentiable(operation):
    """The arguments of an operation that its cases give floating point numbers of some effect."""
    found = set()
    for case in operation.cases(np.random.default_rng(0)):
        if case.domain != "regular":
            continue
        for k, a in enumerate(case.args):
            first = a[0] if isinstance(a, tuple) else a
            if k not in found and np.size(first) and np.asarray(first).dtype.kind == "f" \
                    and moves(operation, case, k):
                found.add(k)
    return sorted(found)


def moves(operation, case, k):
    """Whether the value changes with argument ``k``."""
    if isinstance(case.args[k], tuple):
        return True
    def f(x):
        args = [x if n == k else a for n, a in enumerate(case.args)]
        y = operation.apply(*args, **case.params)
        return sum((p * 1.0).sum() for p in (y if isinstance(y, tuple) else (y,)))
    with np.errstate(all="ignore"):
        try:
            return bool(np.any(ad.grad(f)(np.asarray(case.args[k]))))
        except Exception:  # noqa: BLE001 - several results: assume that it does
            return True


def caught(mutation, seed, programs=400):
    """The first program that shows the mutation, and its Outcome; None if none does.

    Only programs in which the row occurs are examined.
    """
    for n in range(programs * 40):
        if mutation.row not in names_of((seed, n)):
            continue
        program = draw([seed, n]).program
        if examine(program).mismatches:
            continue  # it would count as found whatever the rule
        programs -= 1
        before = mutation.ran
        with mutated(mutation):
            outcome = examine(program)
        if outcome.mismatches and mutation.ran > before:
            return n, outcome
        if programs == 0:
            return None
    return None


KNOWN = {}


def names_of(key):
    """The operations of a program, remembered: all mutations look at the same programs."""
    if key not in KNOWN:
        KNOWN[key] = draw(list(key)).program.rows()
    return KNOWN[key]
