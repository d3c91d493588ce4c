"""What a run prints: failures as Python, coverage by operation, rejects by reason."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from adjoint.core.primitive import REGISTRY

from .drawing import draw
from .examine import examine, weights_of
from .programs import WRAPPERS, operations, run, source

OFTEN = 50  # how often every operation must occur in a run of 20,000 programs


@dataclass
class Failure:
    """A program with a mismatch, made small."""

    seed: Any
    names: Any
    text: str
    program: Any
    length: Any


@dataclass
class Tally:
    """Counts over programs."""

    programs: int = 0
    steps: int = 0
    occurs: Counter = field(default_factory=Counter)
    first: Counter = field(default_factory=Counter)
    second: Counter = field(default_factory=Counter)
    refused: Counter = field(default_factory=Counter)
    rejects: Counter = field(default_factory=Counter)
    rejected: Counter = field(default_factory=Counter)
    extras: Counter = field(default_factory=Counter)
    leaves: Counter = field(default_factory=Counter)
    flavours: Counter = field(default_factory=Counter)
    failures: list = field(default_factory=list)

    def enter(self, made, outcome):
        """Count one program."""
        self.programs += 1
        self.steps += len(made.program.steps)
        self.refused.update(made.refused)
        self.leaves.update(made.shapes)
        self.flavours[made.program.flavour] += 1
        names = {s.number: s.name for s in made.program.steps}
        self.occurs.update(names.values())
        self.occurs.update(row for row, _, _ in made.program.blocks)
        if outcome is not None:
            self.first.update(names[n] for n in outcome.first)
            self.second.update(names[n] for n in outcome.second)
            self.rejects.update(outcome.rejects)
            self.rejected.update(outcome.rejected)
            self.extras.update(outcome.extras)

    def add(self, other):
        """Add what another process counted."""
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)

    def missing(self):
        """Operations that occur too seldom for a run of this size."""
        least = OFTEN * self.programs // 20_000
        return [n for n in everything() if self.occurs[n] < least]

    def table(self):
        """The coverage by operation, and the rejects."""
        refused = Counter()
        for (name, _), n in self.refused.items():
            refused[name] += n
        rejected = Counter()
        for (name, _), n in self.rejected.items():
            rejected[name] += n
        titles = ("occurs", "order 1", "order 2", "rejected", "refused")
        lines = [f"{'operation':24}" + "".join(f"{title:>9}" for title in titles)]
        for name in everything():
            o = operations().get(name)
            note = "  no derivative" if o is not None and o.nondiff else (
                "  a function of functions: in a block" if o is None else "")
            counts = (self.occurs, self.first, self.second, rejected, refused)
            lines.append(f"{name:24}" + "".join(f"{c[name]:9}" for c in counts) + note)
        least = min(self.occurs[n] for n in everything())
        total = f"{self.programs} programs, {self.steps} steps, each operation {least} times and up"
        lines += ["", total, "leaves: " + counted(self.leaves), "dtypes: " + counted(self.flavours),
                  "also: " + counted(self.extras)]
        lines.append("rejected: " + (counted(Counter(
            {f"order {'1' if o == 'first' else '2'}, {why}": n
             for (o, why), n in self.rejects.items()})) or "nothing"))
        why = Counter()
        for (_, reason), n in self.refused.items():
            why[reason] += n
        lines.append("cases refused while drawing: " + counted(why))
        left = [n for n in REGISTRY if n not in everything()]
        if left:
            lines.append("not drawn (no cases, or effects): " + ", ".join(sorted(left)))
        if self.missing():
            lines.append("TOO SELDOM: " + ", ".join(self.missing()))
        lines.append(f"{len(self.failures)} programs with a mismatch")
        return "\n".join(lines)


def everything():
    """The names that a run must cover."""
    return sorted({*operations(), *WRAPPERS})


def counted(counter):
    """Counts in a line, the most frequent first."""
    return ", ".join(f"{name} {n}" for name, n in counter.most_common())


def described(failure):
    """A failure: what differs, the seed, and the small program as Python."""
    head = [f"\n# MISMATCH {failure.text}",
            f"# seed {failure.seed!r}" + (f" over {failure.names}" if failure.names else "")
            + (f"; {failure.length} steps made {len(failure.program.steps)}"
               if failure.length else "")]
    names = sorted({s.name for s in failure.program.steps})
    entry = regression(tuple(names)) if failure.length else None
    if entry is not None:
        head.append(f"# for REGRESSIONS in tests/test_fuzz.py: ({entry}, {tuple(names)}),")
    with np.errstate(all="ignore"):
        values = run(failure.program, failure.program.leaves.values())
    weights = weights_of(failure.program, values, None)
    return "\n".join(head) + "\n" + source(failure.program, weights)


def regression(names, trials=200):
    """The first seed whose program over these operations alone has a mismatch; None if none has.

    Such a seed stays the same program when other operations are added.
    """
    for seed in range(trials):
        try:
            if examine(draw(seed, names).program).mismatches:
                return seed
        except Exception:  # noqa: BLE001 - that is a failure as well
            return seed
    return None
