"""docs/exits.md, written from the survey: every callable, what it does, the line to write."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import scipy
from catalogue import SPACES, parameter
from extras import LINES
from survey import CONSTANT, DECIDING, ERROR, EXTRAS, GRADIENT, PYTHON, Row, survey

from adjoint.instead import METHODS, line_for

TARGET = Path(__file__).parents[2] / "docs" / "exits.md"
HEAD = """# What NumPy, SciPy and Python do with a tracked value

<!-- Written by `python tests/exits/survey.py`, which also tests every line; do not edit. -->

A tracked value (a Tensor in a graph, or a value inside `ad.grad`, `ad.jvp`, `ad.vmap`) never leaves
the graph silently. Every public callable of NumPy {numpy}, SciPy {scipy}, `math` and `cmath` was
called with a tracked value in each position where it takes a number: as an array, as a list and a
tuple of tracked values, as a keyword, under all of these transformations. One of three things
happens:

- the value is NumPy's and the **derivative is right** (compared with finite differences),
- the result is a **constant** that is documented to be one: truth values, integers, shapes,
  rounding. A tolerance (`rtol`, `tol`, `rcond`) only decides, and so it counts as a plain number,
- an **error** says what to write instead.

In the lines to write, `x`, `z`, `w` are the arrays among the arguments in their order, `n` and `m`
the integers, `mask` the booleans, `xs` a list, `f` a function. Where no line is given, compose the
function from others, or write an `ad.Function` with its derivative; `x.detach().numpy()` takes a
value out of the graph on purpose.

Five things to know:

- NumPy hands us arrays, not lists: `np.sin([x, z])` of tracked values is an error that says
  `ad.array([x, z])`. Functions that join (`np.stack`, `np.concatenate`, ...) take lists.
- Where NumPy converts an element itself (`a[0] = x`, `a.fill(x)`), it raises its own ValueError,
  and ours is its cause: the line to write stands above it in the traceback.
- `np.array_equal` and `np.array_equiv` turn any error into False. Of lists of tracked values they
  compare the values; under `vmap`, where a list element has many values, they are False.
- `np.linalg.svd(x)` of a tracked matrix that is not square gives the reduced form: the further
  columns of `full_matrices=True` are arbitrary, and asking for them is an error.
- Python code that asks `isinstance(x, np.ndarray)` takes a tracked array for a number. In the
  modules below nothing does so unnoticed. `np.polynomial` does: `polyval(x, c)` and its like are
  right for one row of coefficients, and an error where `c` has more axes (in the grids too) or `x`
  is evaluated from roots, which says how to give `c` its axes.
"""


def render() -> str:
    """The page."""
    parts = [HEAD.format(numpy=np.__version__, scipy=scipy.__version__)]
    parts += [section(space) for space in (*SPACES, *EXTRAS)]
    return "\n".join(parts)


def section(space: str) -> str:
    """One module, or one kind of call."""
    if space.startswith("ufunc"):
        return variants(space)
    rows = survey(space)
    by_outcome: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        by_outcome[verdict(row)].append(row.name)
    lines = [f"## {space}", ""]
    for outcome, title in ((GRADIENT, "Right derivative"), (CONSTANT, "Constant")):
        if by_outcome[outcome]:
            lines += [f"**{title}**: {listed(by_outcome[outcome])}.", ""]
    lines += partly([r for r in rows if verdict(r) == GRADIENT])
    lines += refused(space, by_outcome[ERROR])
    if by_outcome[PYTHON]:
        lines += ["With Python's own TypeError:", "", *refused(space, by_outcome[PYTHON])]
    reasons: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        if row.why_not:
            reasons[row.why_not].append(row.name)
    lines += [f"Not called, because {why}: {listed(found)}.\n"
              for why, found in sorted(reasons.items())]
    return "\n".join(lines)


def variants(space: str) -> str:
    """Methods and keywords of all ufuncs, by the method or the keyword."""
    found: dict[tuple[str, str, str], set[str]] = defaultdict(set)
    for row in survey(space):
        for f in row.findings:
            if (f.mode, f.spelling) == ("tensor", "array"):
                name, variant = split(row.name)
                out = f.position == (1, "out")
                tracked = "`out=t`" if out else "an operand"
                found[variant, tracked, f.outcome].add(name)
    lines = [f"## {space}", "", "| call | tracked | what happens | functions | write |",
             "|---|---|---|---|---|"]
    for (variant, tracked, outcome), functions in sorted(found.items()):
        line = WRITE.get(variant, "") if outcome == ERROR else ""
        shown = f"`{line}`" if line else ""
        lines.append(f"| `{variant}` | {tracked} | {TITLES[outcome]} | {listed(sorted(functions))} "
                     f"| {shown} |")
    return "\n".join([*lines, ""])


def split(name: str) -> tuple[str, str]:
    """The function, and the way that it was called."""
    if "(..." in name:
        short, _, rest = name.partition("(...")
        return short.removeprefix("np."), f"f(x{rest}"
    _, short, method = name.split(".")
    return short, f"f.{method}"


TITLES = {GRADIENT: "right derivative", CONSTANT: "constant", ERROR: "error"}
WRITE = {"f(x, out)": "y = f(x)", "f(x, dtype)": "f(x).astype(dtype)",
         "f(x, out, where)": "np.where(mask, f(x), out)",
         **{f"f.{method}": line for method, line in METHODS.items()}}


def listed(found: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in found)


def verdict(row: Row) -> str:
    """What a callable does, in the best of its positions; tolerances count where all are."""
    plain = [f for f in row.findings if f.mode == "tensor" and f.spelling == "array"]
    seen = {f.outcome for f in plain if parameter(f.call, f.position) not in DECIDING} or {
        f.outcome for f in plain}
    return next((o for o in (GRADIENT, CONSTANT, PYTHON, ERROR) if o in seen), "")


def partly(rows: Iterable[Row]) -> list[str]:
    """Arguments that differentiable functions refuse."""
    found = []
    for row in rows:
        refused_ones = {place(f) for f in row.findings if (f.mode, f.spelling, f.outcome) == (
            "tensor", "array", ERROR)} - {place(f) for f in row.findings if (
                f.mode, f.spelling, f.outcome) == ("tensor", "array", GRADIENT)}
        if refused_ones:
            found.append(f"`{row.name}` ({', '.join(sorted(refused_ones))})")
    return [f"With an error for a tracked value in these arguments: {', '.join(found)}.", ""
            ] if found else []


def place(finding: object) -> str:
    """An argument, by name or by number."""
    call, position = finding.call, finding.position  # type: ignore[attr-defined]
    return parameter(call, position) or f"argument {position[1] + 1}"


def refused(space: str, found: list[str]) -> list[str]:
    """The table of errors with lines to write, and the list of those without."""
    table = {name: LINES.get(name) or line_for(
        f"{space}.{name}" if space in SPACES else name.replace("np.random", "rng"))
        for name in found}
    known = {name: line for name, line in table.items() if line}
    rest = [name for name in found if name not in known]
    lines = ["| error from | write |", "|---|---|"] if known else []
    lines += [f"| `{name}` | `{line}` |" for name, line in known.items()]
    if rest:
        lines += [""] * bool(known) + [f"**Error**, to be composed: {listed(rest)}."]
    return [*lines, ""] if lines else []
