"""What the doctor says: a Finding for each step that went wrong, a Report of all."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from adjoint.show.remedies import BACKWARD, FORWARD, TANGENT

ARRIVED, KINK = "arrived", "kink"  # beside the phases in which a step goes wrong by itself
HEADS = {
    FORWARD: "{kind} made by `{operation}`",
    TANGENT: "{kind} made by the derivative of `{operation}`, forward mode",
    BACKWARD: "{kind} made by the derivative of `{operation}`, backward",
    ARRIVED: "{kind} was there already, in what `{operation}` was given",
    KINK: "`{operation}` is evaluated on a kink",
}
INDENT = "\n   "


@dataclass(frozen=True)
class Finding:
    """One step that went wrong (or sits on a kink): numbers and text only, it holds no array.

    ``phase`` is "forward", "backward", "tangent" (forward mode), "arrived" (the number was there
    before) or "kink"; ``kind`` is "NaN", "infinity" or "kink". ``index`` is the element's, in an
    array of ``shape``; ``batch`` its indices among the members of vmap. ``operands`` are the
    operands there, as text; ``way`` leads from the operation to the parameter, one step a line.
    """

    phase: str
    kind: str
    operation: str
    file: str = ""
    line: int = 0
    source: str = ""
    index: tuple[int, ...] = ()
    batch: tuple[int, ...] = ()
    shape: tuple[int, ...] = ()
    operands: tuple[str, ...] = ()
    happened: str = ""
    way: tuple[str, ...] = ()
    remedy: str = ""

    @property
    def where(self) -> str:
        """The line, as it is printed."""
        if not self.file:
            return "line unknown: it was recorded before the doctor came"
        return f"line {self.line} of {self.file}" + (f": {self.source}" if self.source else "")

    def __str__(self) -> str:
        lines = [HEADS[self.phase].format(kind=self.kind, operation=self.operation), self.where]
        if self.shape:
            member = f" of batch member {self.batch}" if self.batch else ""
            lines.append(f"element {self.index} of shape {self.shape}{member}")
        elif self.batch:
            lines.append(f"batch member {self.batch}")
        lines += [self.happened] if self.happened else []
        lines += [f"operand {k}: {text}" for k, text in enumerate(self.operands)]
        lines += ["the way to it:", *(f"  {step}" for step in self.way)] if self.way else []
        lines += [f"remedy: {self.remedy}"] if self.remedy else []
        return INDENT.join(lines)


CANCELLED = (
    "\ncancelled: the derivative of `{}` ({}) is not finite, and a zero downstream made the\n"
    "   product 0. So it is meant where a branch was not taken; where the zero is a value, as\n"
    "   in sqrt(x)**2 at 0, it is a convention and not the limit. ad.strict() shows NaN")


@dataclass
class Report:
    """What was found: ``findings``, the first one first. Its truth is "nothing was found".

    ``checked`` says what was looked at; ``finite`` whether results and gradients came out finite
    (None if that was not asked). ``cancelled`` is what would be NaN if a zero downstream did not
    win over it: meant so where a branch was not taken, a convention elsewhere. ``str`` prints it,
    ``as_dict()`` gives plain data.

    >>> report = ad.diagnose(lambda x: np.log(x), 0.0)
    >>> report.first.operation, report.first.kind, bool(report)
    ('log', 'infinity', False)
    """

    findings: list[Finding] = field(default_factory=list[Finding])
    checked: str = ""
    finite: bool | None = None
    cancelled: Finding | None = None

    @property
    def first(self) -> Finding | None:
        """The first operation that went wrong; None if none did."""
        return self.findings[0] if self.findings else None

    def as_dict(self) -> dict[str, Any]:
        """The report as dicts, lists and strings."""
        return {"findings": [asdict(f) for f in self.findings], "checked": self.checked,
                "finite": self.finite,
                "cancelled": None if self.cancelled is None else asdict(self.cancelled)}

    def __bool__(self) -> bool:
        return not self.findings

    def __str__(self) -> str:
        checked = f"\nchecked: {self.checked}" if self.checked else ""
        if self.cancelled is not None:
            checked = CANCELLED.format(self.cancelled.operation, self.cancelled.where) + checked
        if not self.findings:
            return "nothing found" + checked
        head = ""
        if self.finite:
            head = "results and gradients are finite; on the way, though:\n"
        listed = [str(f) for f in self.findings]
        if len(listed) > 1:
            listed = [f"{k}. {text}" for k, text in enumerate(listed, 1)]
        return head + "\n".join(listed) + checked

    __repr__ = __str__
