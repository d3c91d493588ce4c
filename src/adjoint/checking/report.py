"""What `ad.check` found: one Finding for each test, a Report of all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

OK, FAILED, KINK, UNSURE, SKIPPED = "ok", "FAILED", "kink", "UNSURE", "skipped"
BAD = (FAILED, UNSURE)


@dataclass(frozen=True)
class Finding:
    """The outcome of one test: its worst element, beside the tolerance that holds there.

    ``status`` is "ok"; "FAILED"; "kink" (the one-sided derivatives differ, and the derivative lies
    between them); "UNSURE" (there is no reference at this point, or it is too rough to judge by);
    "skipped" (``note`` says why). ``where`` names the argument, the index in it, and the element of
    the result.
    """

    test: str
    status: str
    error: float = 0.0
    tolerance: float = 0.0
    where: str = ""
    got: Any = None
    expected: Any = None
    note: str = ""

    @property
    def rank(self) -> tuple[bool, bool, float]:
        """How bad it is: of several outcomes of one test the worst is shown."""
        return self.status in BAD, self.status == FAILED, self.error / max(self.tolerance, 1e-300)

    def columns(self) -> tuple[str, str, str, str, str]:
        """The cells of its line in the table."""
        said = [self.where] if self.where else []
        if self.got is not None:
            said.append(f"got {number(self.got)}, expected {number(self.expected)}")
        said += [self.note] if self.note else []
        measured = self.status != SKIPPED and not (self.error == 0.0 and self.tolerance == 0.0)
        error, tolerance = (f"{self.error:.1e}", f"{self.tolerance:.1e}") if measured else ("", "")
        return self.test, self.status, error, tolerance, ": ".join(said)


def number(x: Any) -> str:
    """A number with as many digits as a comparison needs; an interval as it is."""
    return "{} to {}".format(*map(number, x)) if isinstance(x, tuple) else f"{x:.9g}"


@dataclass(frozen=True)
class Report:
    """What `ad.check` found: ``ok`` (also its truth), one Finding per test; ``str`` makes a table.

    >>> report = ad.check(np.sin, 1.0)
    >>> report.ok, report.findings[0].test
    (True, 'adjoint identity')
    """

    name: str
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether every test that could be made was passed."""
        return not any(f.status in BAD for f in self.findings)

    @property
    def worst(self) -> Finding:
        """The Finding to look at first."""
        return max(self.findings, key=lambda f: f.rank)

    def __bool__(self) -> bool:
        return self.ok

    def __str__(self) -> str:
        head = f"derivatives of {self.name}: {'ok' if self.ok else 'NOT ok'}"
        rows = [("test", "status", "error", "tolerance", "worst element")]
        rows += [f.columns() for f in self.findings]
        widths = [max(len(r[k]) for r in rows) for k in range(4)]
        a, b, c, d = widths
        lines = [f"{r[0]:<{a}}  {r[1]:<{b}}  {r[2]:>{c}}  {r[3]:>{d}}  {r[4]}" for r in rows]
        return "\n".join([head, *(f"  {line}".rstrip() for line in lines)])

    __repr__ = __str__


def merged(name: str, reports: Iterable[Report]) -> Report:
    """Of each test the worst outcome in several reports."""
    found: dict[str, Finding] = {}
    for report in reports:
        for f in report.findings:
            best = found.get(f.test)
            if (
                best is None
                or (best.status == SKIPPED and f.status != SKIPPED)
                or (f.status != SKIPPED and f.rank > best.rank)
            ):
                found[f.test] = f
    return Report(name, tuple(found.values()))
