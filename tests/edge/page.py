"""docs/edge_cases.md, written from the catalogue: every number on it is computed as it is written.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

import adjoint as ad

from . import kinks, matrices, singular, system
from .case import ASKED, MODES, NESTINGS, Case, Refusal, agree, measure, quiet, second_derivatives
from .system import Program, shown

ROOT = Path(__file__).parents[2]
TARGET = ROOT / "docs" / "edge_cases.md"
CASES: list[Case] = kinks.CASES + singular.CASES + matrices.CASES
REFUSALS: list[Refusal] = matrices.REFUSALS
PROGRAMS: list[Program] = system.PROGRAMS
SECTIONS: list[tuple[str, list[Case]]] = [
    ("Ties, kinks and what is discrete", kinks.TIES), ("Activations at their kinks",
                                                       kinks.ACTIVATIONS),
    ("Powers, roots, logarithms", singular.POWERS),
    ("Zero times infinity, and perfect fits", singular.CANCELLED),
    ("Sums, products, norms, deviations", singular.SUMS),
    ("Functions with a special point", singular.FUNCTIONS),
    ("Singular and degenerate matrices", matrices.DEGENERATE),
    ("Matrices: exact rules", matrices.EXACT)]
PARTS: list[tuple[str, list[Program]]] = [
    ("Shapes", system.SHAPES), ("Types", system.TYPES), ("Memory and mutation", system.MEMORY),
    ("Exits from the graph", system.EXITS), ("What the reports say", system.REPORTS)]

HEAD = """# Edge cases: one answer each

<!-- Written by `python tests/edge`; do not edit. The entries stand in tests/edge, the tests in
     tests/test_edge_cases.py. -->

At a kink or a singular point a derivative is a decision. Here it is the same decision for every
spelling of an operation, in every mode:

```python
>>> import numpy as np
>>> import adjoint as ad
>>> for f in (lambda x: np.maximum(x, 0.0), lambda x: x.clamp(min=0.0),
...           lambda x: ad.stack([x, 0.0]).max()):
...     print(ad.grad(f)(0.0), ad.jvp(f, (0.0,), (1.0,))[1])
0.5 0.5
0.5 0.5
0.5 0.5

```

Each row below is a test of all its spellings ({spellings} in {cases} rows) in {modes} modes:
{mode_names}.
Where a second derivative stands, it is the same by
{nestings}.

*Stated* is the answer that this library has decided on, *computed* what all of these gave when the
page was written; two numbers there would be a fault. A matrix is written by its rows. *Elsewhere*
is what others gave on 2026-11-20 in float64: torch 2.13, jax 0.10, HIPS autograd 1.9, and those
that are named.

Four rules make most of the answers:

- **Ties share.** `max`, `min`, `maximum`, `minimum`, `fmax`, `fmin`, `clip` and their relatives
  give each of those that attain the value an equal part. The relu family (`relu`, `relu6`,
  `leaky_relu`, `hardtanh`, `hardsigmoid`, `hardswish`, `threshold`, the shrinks) follows torch
  instead.
- **Sorting is stable**: each output feeds the element that it came from.
- **A zero downstream cancels what is not finite upstream, never the reverse**:
  `np.where(x > 0, np.sqrt(x), 0.0)` has gradient 0 at 0, `np.sqrt(np.sum(x ** 2))` has NaN there,
  and [the doctor](doctor.md) says to write `np.linalg.norm(x)`. `ad.strict()` restores IEEE.
- **A derivative that does not exist is an error**, if no convention is useful: eigenvectors of
  equal eigenvalues, the logarithm of a determinant that is 0.

Python's own `max(x, 0)`, `if`, and `np.where(x > 0, x, 0.0)` pick a branch, and the derivative is
that of the branch; `ad.kinks("raise")` names the place.
"""


# ---- what is printed of numbers

def number(x: Any) -> str:
    """Six digits; rounding errors of a zero are a zero."""
    x = float(x)
    return "NaN" if np.isnan(x) else f"{0.0 if abs(x) < 1e-11 else x:.6g}"


def numbers(xs: Any, shape: tuple[int, ...]) -> str:
    """A number, a vector, or a matrix by its rows."""
    rows = np.reshape(xs, (-1, shape[-1])) if shape else np.reshape(xs, (1, 1))
    return "; ".join(", ".join(map(number, row)) for row in rows)


def gradients(case: Case, flat: np.ndarray) -> str:
    """The gradient by each variable."""
    parts, start = [], 0
    for name, x in zip("xyz", case.points, strict=False):
        shown_part = numbers(flat[start:start + np.size(x)], np.shape(x))
        start += np.size(x)
        parts.append(f"d{name} {shown_part}" if len(case.points) > 1 else shown_part)
    return ", ".join(parts) if all(np.ndim(x) == 0 for x in case.points) else "<br>".join(parts)


def computed(case: Case) -> str:
    """What all spellings gave in all modes; one text if they agree."""
    found = {gradients(case, measure(case, line, mode)): 0
             for line in case.lines for mode in case.modes}
    return " *or* ".join(found)


def hessian(case: Case, h: np.ndarray) -> str:
    """A second derivative, if it is small enough to be read."""
    if not np.any(h):
        return "0" if np.size(h) == 1 else "all 0"
    if np.size(h) > 9:
        return f"exact ({len(h)} by {len(h)})" if agree(h, case.second, 1e-9) else "WRONG"
    return numbers(h, np.shape(h) if np.size(h) > 1 else ())


def computed_second(case: Case) -> str:
    """The second derivatives that all spellings gave by all nestings."""
    if case.second is None:
        return ""
    return " *or* ".join({hessian(case, second_derivatives(case, line, nesting)): 0
                          for line in case.lines for nesting in NESTINGS})


def stated_second(case: Case) -> str:
    """The second derivatives that were decided on."""
    if case.second is None:
        return ""
    n = sum(map(np.size, case.points))
    return hessian(case, np.array(np.broadcast_to(np.asarray(case.second, float), (n, n))))


# ---- the page

def render() -> str:
    """The page."""
    parts = [HEAD.format(
        spellings=sum(len(c.lines) for c in CASES), cases=len(CASES), modes=len(MODES),
        mode_names=", ".join(f"`{m}`" if "." in m or "(" in m else m for m in MODES),
        nestings=", ".join(f"`{n}`" if "." in n else n for n in NESTINGS))]
    parts += [section(title, cases) for title, cases in SECTIONS]
    parts += [refused(), careful()]
    parts += [programs(title, found) for title, found in PARTS]
    parts += ["## Every spelling\n", "The rows with more than one.\n"]
    if used := matrices.HELPERS.strip():
        parts.append(f"Where these names occur:\n\n```\n{used}\n```\n")
    parts += [spelled(title, cases) for title, cases in SECTIONS]
    return "\n".join(parts)


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = list(head)
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def section(title: str, cases: list[Case]) -> str:
    """One table of gradients."""
    return f"## {title}\n\n" + table(
        ("case", "written", "gradient stated", "computed", "second stated", "computed",
         "elsewhere", "note"),
        ((c.name, written(c), gradients(c, c.answer), computed(c), stated_second(c),
          computed_second(c), c.peers, noted(c)) for c in cases))


def written(case: Case) -> str:
    """The first spelling, and how many more there are."""
    more = len(case.lines) - 1
    return f"`{case.lines[0]}`" + (f" and {more} more" if more else "")


def noted(case: Case) -> str:
    """The note, and the modes that were left out."""
    left_out = [m for m in MODES if m not in case.modes]
    return "; ".join(t for t in (case.note, "not asked: " + ", ".join(left_out) if left_out else "")
                     if t)


def spelled(title: str, cases: list[Case]) -> str:
    """All spellings of all rows of one table."""
    lines = [f"- **{c.name}**: " + ", ".join(f"`{line}`" for line in c.lines)
             for c in cases if len(c.lines) > 1]
    return f"### {title}: spellings\n\n" + "\n".join(lines) + "\n"


def refused() -> str:
    """Derivatives that do not exist."""
    return ("## Matrices: derivatives that do not exist\n\n"
            f"An error in each of {', '.join(f'`{m}`' for m in ASKED)}.\n\n" + table(
                ("case", "written", "the error", "elsewhere"),
                ((r.name, ", ".join(f"`{line}`" for line in r.lines),
                  f"`{message(r)}`", r.peers) for r in REFUSALS)))


def message(refusal: Refusal) -> str:
    """The first sentence of the error of the first spelling."""
    try:
        refusal.ask(refusal.lines[0], "ad.grad")
    except ad.errors.AdjointError as error:
        return f"{type(error).__name__}: {str(error).splitlines()[0].split('. ')[0]}"
    return "none"


def programs(title: str, found: list[Program]) -> str:
    """One table of small programs."""
    return f"## {title}\n\n" + table(
        ("case", "program", "shows", "elsewhere", "tests"),
        ((p.name, code(p.lines), code([result(p)]) if p.code else "", p.peers,
          code(p.tests.splitlines())) for p in found))


def code(lines: list[str]) -> str:
    """Lines of code in a cell of a table."""
    return "<br>".join(f"`` {line} ``" if "`" in line else
                       f"`{line}`" for line in lines if line.strip())


def result(program: Program) -> str:
    """What a program shows on this page: of a message, the first sentence."""
    found = " ".join(shown(program.code).split())
    return found.split(". ")[0] if program.raises else found


def careful() -> str:
    """The table of tests/core/test_careful.py, computed here once more by reverse mode."""
    module = loaded(ROOT / "tests" / "core" / "test_careful.py")
    rows = []
    with quiet():
        for title, entries in (("a zero downstream cancels", module.CANCELS),
                               ("a zero upstream does not", module.STAYS)):
            for name, (f, x, wanted) in entries.items():
                x = np.asarray(x, float)
                rows.append((name, title, flat(x), flat(np.broadcast_to(wanted, x.shape)),
                             flat(module.by_reverse(f, x))))
        for name, (f, x, wanted) in module.SECOND.items():
            rows.append((name, "second derivative", flat(x), flat(wanted),
                         flat(module.ORDERS["hessian"](f)(x))))
    return ("## Zero times infinity, program by program\n\n"
            "From `tests/core/test_careful.py`, which holds each in every mode.\n\n"
            + table(("program", "why", "at x =", "stated", "computed"), rows))


def flat(x: Any) -> str:
    return ", ".join(map(number, np.ravel(x)))


def loaded(path: Path) -> ModuleType:
    """A test file as a module."""
    name = f"edge_{path.stem}"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        module = importlib.util.module_from_spec(spec)  # type: ignore[arg-type]
        spec.loader.exec_module(module)  # type: ignore[union-attr]
        sys.modules[name] = module
    return sys.modules[name]


# ---- what does not hold

def wrong(case: Case) -> list[str]:
    """The spellings and modes of a case that give another first derivative."""
    found = []
    for line in case.lines:
        for mode in case.modes:
            got = measure(case, line, mode)
            tolerance = 1e-5 if mode == "float32" else case.tolerance
            if not agree(got, case.answer, tolerance):
                found.append(f"{case.name}: `{line}` by {mode}: {got}, not {case.answer}")
    return found


def wrong_second(case: Case) -> list[str]:
    """The spellings and nestings of a case that give another second derivative."""
    return [f"{case.name}: `{line}`, {nesting}: {second_derivatives(case, line, nesting).tolist()}"
            f", not {case.second}"
            for line in case.lines for nesting in NESTINGS
            if not agree(second_derivatives(case, line, nesting), case.second, 1e-10)]


def faults() -> list[str]:
    """Everything that does not hold."""
    found = [fault for c in CASES for fault in wrong(c)]
    found += [fault for c in CASES if c.second is not None for fault in wrong_second(c)]
    return found + [f"{p.name}: {shown(p.code)}, not {p.shows}" for p in PROGRAMS
                    if p.code and not p.holds]


def count() -> str:
    """How much was tried."""
    return (f"{len(CASES)} cases with {sum(len(c.lines) for c in CASES)} spellings, "
            f"{sum(len(c.lines) * len(c.modes) for c in CASES)} first derivatives, "
            f"{sum(len(c.lines) * len(NESTINGS) for c in CASES if c.second is not None)} second; "
            f"{len(REFUSALS)} refusals; {len(PROGRAMS)} programs")
