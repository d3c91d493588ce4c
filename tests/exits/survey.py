"""Every public callable of NumPy, math and SciPy with a tracked value in each position.

What may happen: the right value with the right derivative, a constant that is documented to be one,
or an error of ours that says what to write. `judge` finds out which; anything else is a `Fault`.
`python tests/exits/survey.py` writes docs/exits.md.
"""

from __future__ import annotations

import contextlib
import io
import re
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from catalogue import (
    SPACES,
    Call,
    at,
    found_calls,
    names,
    parameter,
    reason,
    replaced,
)
from extras import (
    CONSTANT,
    ERROR,
    GRADIENT,
    PYTHON,
    SECTIONS,
    array_methods,
    draws,
    ufunc_keywords,
    ufunc_methods,
)

import adjoint as ad
from adjoint import exits
from adjoint.core.box import Box
from adjoint.core.node import aval_of
from adjoint.core.symbol import Symbol, trace
from adjoint.errors import AdjointError, EscapeError, MutationError, UnsupportedError

WRITES = re.compile(r"[Ww]rite |[Cc]ompose |[Uu]se |ad\.\w+")
NUMPYS = "NumPy speaks for itself: write a = ad.setitem(a, 0, t)"
STEP, TOLERANCE = 1e-6, 2e-5
MODES = ("tensor", "grad", "jvp", "vmap")


class Fault(Exception):  # noqa: N818 - not an error of the library but a finding about it
    """An outcome that must not be: a silent exit, a wrong number, an error of someone else's."""


@dataclass(frozen=True)
class Finding:
    """What one call did with a tracked value in one position, in one spelling and mode."""

    call: Call
    position: tuple[Any, ...]
    spelling: str
    mode: str
    outcome: str
    message: str = ""

    def __repr__(self) -> str:
        return f"{self.call} at {self.position} as {self.spelling} in {self.mode}: {self.message}"


# ---- results as numbers

def leaves(y: Any) -> list[Any]:
    """The numbers in a result: floats, arrays and Boxes, in sequences too."""
    if isinstance(y, (Box, np.ndarray, np.generic, float, complex, int)):
        return [y]
    if isinstance(y, (list, tuple)):
        return [part for each in y for part in leaves(each)]
    return [part for each in y.values() for part in leaves(each)] if isinstance(y, dict) else []


def is_real_number(leaf: Any) -> bool:
    kind = leaf.dtype.kind if hasattr(leaf, "dtype") else np.asarray(leaf).dtype.kind
    return kind in "fcO"


def weighted(y: Any) -> Any:
    """One real number of all the floating point numbers in a result."""
    total: Any = 0.0
    for k, leaf in enumerate(leaves(y)):
        if not is_real_number(leaf):
            continue
        parts = ((ad.real(leaf), ad.imag(leaf)) if np.dtype(
            getattr(leaf, "dtype", type(leaf))).kind == "c" else (leaf,))
        for j, part in enumerate(parts):
            shape = np.shape(part)
            weights = np.random.default_rng([k, j]).uniform(0.5, 1.5, shape)
            total = total + ad.sum(part * weights)
    return total


def value_of(y: Any) -> Any:
    """A result with plain arrays for Boxes (not under vmap)."""
    if isinstance(y, Box):
        return np.asarray(y.concrete())
    if isinstance(y, (list, tuple)):
        return [value_of(part) for part in y]
    return {k: value_of(v) for k, v in y.items()} if isinstance(y, dict) else y


def same(got: Any, wanted: Any) -> bool:
    """Whether two results hold the same numbers (or are equal, where they are no numbers)."""
    a, b = leaves(value_of(got)), leaves(value_of(wanted))
    if len(a) != len(b):
        return False
    if not a:
        return type(got) is type(wanted) and (got is wanted or isinstance(got, (str, type(None))))
    return all(np.shape(p) == np.shape(q) and close(p, q) for p, q in zip(a, b, strict=True))


def close(p: Any, q: Any, tolerance: float = 1e-9) -> bool:
    p, q = np.asarray(p), np.asarray(q)
    if p.dtype.kind not in "fciub" or q.dtype.kind not in "fciub":
        return p.dtype == q.dtype and bool(np.all(p == q))
    if p.dtype in (np.float32, np.float16):
        tolerance = 1e-3
    with np.errstate(all="ignore"):
        scale = 1.0 + np.max(np.abs(q[np.isfinite(q)]), initial=0.0)
    return bool(np.allclose(p, q, rtol=tolerance, atol=tolerance * scale, equal_nan=True))


# ---- one probe

@contextlib.contextmanager
def quiet() -> Iterator[None]:
    with (warnings.catch_warnings(), np.errstate(all="ignore"),
          contextlib.redirect_stdout(io.StringIO())):
        warnings.simplefilter("ignore")
        yield


SPELLINGS: dict[str, Callable[[Any], Any]] = {
    "array": lambda x: x, "list": lambda x: [x[k] for k in range(x.shape[0])],
    "tuple": lambda x: tuple(x[k] for k in range(x.shape[0]))}


class Probe:
    """One call as a function of the number in one position."""

    def __init__(self, call: Call, position: tuple[Any, ...], spelling: str = "array") -> None:
        self.call, self.position, self.spell = call, position, SPELLINGS[spelling]
        self.spelling = spelling
        self.x = np.asarray(at((call.args, call.kwargs), position))
        v = np.random.default_rng(7).uniform(0.5, 1.5, self.x.shape)
        symmetric = self.x.ndim == 2 and self.x.shape[0] == self.x.shape[1] and np.array_equal(
            self.x, self.x.T)
        self.direction = v + v.T if symmetric else v

    def __call__(self, x: Any) -> tuple[Any, Any]:
        """The result, and the arguments as the call left them."""
        x = x if isinstance(x, Box) else np.array(x)
        args, kwargs = replaced((self.call.args, self.call.kwargs), self.position, self.spell(x))
        return self.call.function(*args, **kwargs), (args, kwargs)

    def plain(self, x: Any) -> Any:
        with quiet():
            return self(x)[0]

    @property
    def derivative(self) -> Any:
        """The change of the weighted result in the direction, by central differences."""
        dx = STEP * self.direction
        return (weighted(self.plain(self.x + dx)) - weighted(self.plain(self.x - dx))) / (2 * STEP)

    def accepts(self) -> bool:
        """Whether NumPy takes the spelling."""
        try:
            self.plain(self.x)
        except Exception:  # noqa: BLE001 - trying is how arguments are found
            return False
        return self.spelling == "array" or self.x.ndim > 0

    def run(self, mode: str) -> Finding:
        """What happens in one mode."""
        allowed = self.call.allowed
        try:
            with quiet():
                outcome, message = RUN[mode](self), ""
        except Exception as e:  # noqa: BLE001 - whose error it is decides
            python = allowed is not None and PYTHON in allowed and isinstance(e, TypeError)
            outcome, message = (PYTHON, str(e)) if python else (ERROR, said(e))
        if allowed is not None and outcome not in allowed and (mode, outcome) != ("vmap", ERROR):
            raise Fault(f"{outcome} {message}, which the list in extras.py does not say")
        return Finding(self.call, self.position, self.spelling, mode, outcome, message)


def said(e: BaseException) -> str:
    """The message of an error of ours, or of ours under NumPy's; a Fault for any other."""
    ours = e
    while ours is not None and not isinstance(ours, AdjointError):
        ours = ours.__cause__
    if ours is None:
        if isinstance(e, Fault):
            raise e
        if type(e) is ValueError and str(e) == "Error setting single item of array.":
            return NUMPYS  # the one place where NumPy drops our error for its own
        raise Fault(f"{type(e).__name__}: {str(e)[:200]}") from e
    teaches = isinstance(ours, (EscapeError, UnsupportedError, MutationError))
    if teaches and not WRITES.search(ours.message):
        raise Fault(f"the error does not say what to write: {ours.message}")
    return ours.message


def flows(y: Any) -> bool:
    return any(isinstance(leaf, Box) and getattr(leaf, "node", 0) is not None
               for leaf in leaves(y))


def check_value(probe: Probe, y: Any, after: Any) -> Any:
    """The result has NumPy's values, and arguments that were written to hold them as well."""
    wanted, left = probe(probe.x)
    if probe.call.name != "np.empty_like" and not same(y, wanted):
        raise Fault(f"value {value_of(y)!r:.120}, NumPy gives {wanted!r:.120}")
    if not same(after, left):
        raise Fault("the arguments were not changed as NumPy changes them")
    return wanted


def check_constant(probe: Probe, y: Any, after: Any) -> str:
    """A result that no derivative flows through: documented, with NumPy's value."""
    if not documented(probe):
        raise Fault(f"silent: {type(y).__name__} {y!r:.80}, and {probe.call.name} is not "
                    f"documented as a constant of {parameter(probe.call, probe.position)!r}")
    check_value(probe, y, after)
    return CONSTANT


def check_derivative(probe: Probe, got: Any) -> str:
    wanted = probe.derivative
    if np.isfinite(wanted) and not close(got, wanted, TOLERANCE):
        raise Fault(f"derivative {got}, differences give {wanted}")
    return GRADIENT


def run_tensor(probe: Probe) -> str:
    x = ad.tensor(probe.x, requires_grad=True)
    y, after = probe(x * 1.0)
    if not flows(y):
        return check_constant(probe, y, after)
    check_value(probe, y, after)
    weighted(y).backward()
    dx = 0.0 if x.grad is None else np.asarray(x.grad)
    return check_derivative(probe, np.sum(dx * probe.direction))


def run_grad(probe: Probe) -> str:
    seen: list[Any] = []

    def f(x: Any) -> Any:
        y, after = probe(x * 1.0)
        if flows(y):
            seen.append(GRADIENT)
            check_value(probe, y, after)
            return weighted(y)
        seen.append(check_constant(probe, y, after))
        return ad.sum(x * 0.0)
    dx = ad.grad(f)(probe.x)
    return CONSTANT if seen[0] == CONSTANT else check_derivative(
        probe, np.sum(dx * probe.direction))


def run_jvp(probe: Probe) -> str:
    seen: list[Any] = []

    def f(x: Any) -> Any:
        y, after = probe(x * 1.0)
        if any(isinstance(leaf, Box) for leaf in leaves(y)):
            seen.append(GRADIENT)
            check_value(probe, y, after)
            return weighted(y)
        if by_rows(without_out(probe)) and not documented(probe):  # a structural zero
            check_value(probe, y, after)
            seen.append(check_derivative(probe, 0.0))
        else:
            seen.append(check_constant(probe, y, after))
        return ad.sum(x * 0.0)
    _, dy = ad.jvp(f, (probe.x,), (probe.direction,))
    if seen[0] == CONSTANT:
        return CONSTANT
    return CONSTANT if dy == 0.0 and documented(probe) else check_derivative(probe, dy)


def run_vmap(probe: Probe) -> str:
    xs = np.stack([probe.x, probe.x * 1.01])
    seen: list[Any] = []

    def f(x: Any) -> Any:
        y, after = probe(x * 1.0)
        if any(isinstance(leaf, Box) for leaf in leaves(y)):
            seen.append(GRADIENT)
            return weighted(y)
        seen.append(check_constant(probe, y, after))
        return ad.sum(x * 0.0)
    got = ad.vmap(f)(xs)
    if seen[0] == CONSTANT:
        return CONSTANT
    wanted = [weighted(probe(x)[0]) for x in xs]
    if not close(got, wanted):
        raise Fault(f"vmap gives {got}, one by one {wanted}")
    return CONSTANT if documented(probe) else GRADIENT


RUN: dict[str, Callable[[Probe], str]] = {
    "tensor": run_tensor, "grad": run_grad, "jvp": run_jvp, "vmap": run_vmap}


# ---- what is documented to be a constant

DECIDING = {"tol", "rtol", "atol", "rcond", "cond", "discont"}  # tolerances: nothing flows through
SHAPE_ONLY = {("np.full_like", "a")}
SAID = {"np.histogram"}  # its docstring says so: counts, and edges that x does not set
UNSEEN = {  # NumPy asks Python alone, and nothing of the value is in the answer
    "np.isscalar", "np.iterable", "np.isfortran", "np.bool", "np.bool_"}


def documented(probe: Probe) -> bool:
    """Whether the call is a constant of this position: by its row, by the list, or a tolerance."""
    call = probe.call
    name, key = parameter(call, probe.position), call.name.partition("(...")[0]
    if call.allowed is not None:
        return CONSTANT in call.allowed
    if key.startswith("np.logical_"):  # of which C takes the truth alone
        return True
    return (key in constants() or key in UNSEEN | SAID or name in DECIDING | {"out"}
            or (call.name, name) in SHAPE_ONLY or nondiff(without_out(probe)))


def without_out(probe: Probe) -> Probe:
    """The same call without ``out=``, which a trace cannot write to."""
    call = probe.call
    if "out" not in call.kwargs or probe.position == (1, "out"):
        return probe
    kwargs = {k: v for k, v in call.kwargs.items() if k != "out"}
    return Probe(Call(call.name, call.function, call.args, kwargs), probe.position)


def graph_of(probe: Probe) -> tuple[Any, list[Any]]:
    """The traced call and the nodes of its results; None for what is not written in rows."""
    try:
        graph, y = trace(lambda x: probe(x)[0], aval_of(probe.x))
    except Exception:  # noqa: BLE001 - what cannot be traced is no row
        return None, []
    return graph, [leaf.node for leaf in leaves(y) if isinstance(leaf, Symbol)]


def by_rows(probe: Probe) -> bool:
    return bool(graph_of(probe)[1])


def nondiff(probe: Probe) -> bool:
    """Whether no way leads from the position to the result but through rows without derivative."""
    graph, found = graph_of(probe)
    if graph is None:
        return False
    reached = set(found)
    while found:
        n = found.pop()
        if not n.prim.nondiff:
            found += [i for i in n.inputs if i not in reached]
            reached.update(n.inputs)
    return not reached & set(graph.inputs)


@cache
def constants() -> frozenset[str]:
    """The functions that read no value, or whose result is a set of integers: `exits.CONSTANTS`."""
    return frozenset(f"{space}.{name}" for space, module in SPACES.items()
                     for name in names(module) if is_listed(getattr(module, name)))


def is_listed(f: Any) -> bool:
    return any(f is known for known in (*exits.CONSTANTS, np.shape, np.ndim, np.size))


# ---- the survey

@dataclass
class Row:
    """One callable: what it did, or why it was not called."""

    space: str
    name: str
    why_not: str
    findings: list[Finding]
    faults: list[str]

    @property
    def key(self) -> str:
        return f"{self.space}.{self.name}"


def probes(call: Call) -> Iterator[Probe]:
    for position in call.positions():
        for spelling in SPELLINGS:
            probe = Probe(call, position, spelling)
            if probe.accepts():
                yield probe


def examine(space: str, name: str, function: Any) -> Row:
    """Call one function in every way."""
    row = Row(space, name, reason(space, name, function), [], [])
    if not row.why_not:
        add_findings(row, found_calls(row.key, function))
    return row


def add_findings(row: Row, calls: Iterable[Call]) -> None:
    """Every call, position, spelling and mode."""
    for call in calls:
        for probe in probes(call):
            for mode in MODES if probe.spelling == "array" else ("tensor", "grad"):
                try:
                    row.findings.append(probe.run(mode))
                except Fault as e:
                    row.faults.append(f"{call} at {probe.position} as {probe.spelling} "
                                      f"in {mode}: {e}")
    if not row.findings and not row.faults:
        row.faults.append(f"{row.name} was never called: give it arguments in SPECIAL, or a reason")


def sections() -> Iterator[Call]:
    for name, (function, args, allowed) in SECTIONS.items():
        yield Call(name, function, args, {}, frozenset(allowed))


EXTRAS: dict[str, Callable[[], Iterator[Call]]] = {
    "ufunc methods": ufunc_methods, "ufunc keywords": ufunc_keywords,
    "ndarray": array_methods, "random": draws, "python": sections}


@cache
def survey(space: str) -> tuple[Row, ...]:
    """All of one space."""
    if space in SPACES:
        module = SPACES[space]
        return tuple(examine(space, name, getattr(module, name)) for name in names(module))
    rows: dict[str, Row] = {}
    for call in EXTRAS[space]():
        row = rows.setdefault(call.name, Row(space, call.name, "", [], []))
        add_findings(row, [call])
    return tuple(rows.values())


ALL = (*SPACES, *EXTRAS)


# ---- how much of it was done

def coverage(space: str) -> str:
    """How many callables were called with success, in how many positions, and in what ways."""
    rows = survey(space)
    called = [r for r in rows if r.findings]
    places = {(f.call.name, repr(f.call), f.position) for r in rows for f in r.findings}
    outcomes = Counter(f.outcome for r in rows for f in r.findings)
    reasons = Counter(r.why_not for r in rows if r.why_not)
    lines = [f"{space}: {len(called)} of {len(rows)} called, {len(places)} positions, "
             f"{sum(outcomes.values())} probes: "
             + ", ".join(f"{n} {what}" for what, n in sorted(outcomes.items()))]
    return "\n".join(lines + [f"  {n} not called: {why}" for why, n in sorted(reasons.items())])


def main() -> None:
    for space in ALL:
        print(coverage(space))
    faults = [fault for space in ALL for row in survey(space) for fault in row.faults]
    print(f"{len(faults)} faults", *faults, sep="\n")
    if not faults and "--check" not in sys.argv:
        page.TARGET.write_text(page.render())
        print(f"wrote {page.TARGET.name}")


if __name__ == "__main__":
    sys.modules["survey"] = sys.modules["__main__"]
    import page
    main()
