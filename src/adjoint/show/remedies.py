"""What to write instead: one table of patterns over the recorded steps.

A pattern is read like the program: ``("log", ("sigmoid", "x"))``. A tuple is a step and its first
operands (a name, or several in a frozenset), a list gives alternatives, a number a constant of that
value, ``"*"`` anything, and another string anything that is the same at each of its places. Steps
that only move or cast numbers are looked through. The first entry that fits is the remedy; what
fits none gets the general word, made of the row's own label: a new row needs no entry.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from adjoint.core.primitive import CONSTANT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

FORWARD, BACKWARD, TANGENT = "forward", "backward", "tangent"  # phases in which a step goes wrong
THROUGH = frozenset({"cast", "broadcast_to", "reshape", "transpose", "positive", "getitem", "hook",
                     "sum_to", "item", "concatenate", "pad"})
NEAR, LOOKS = 4, 2000  # how far downstream a pattern may begin; steps that one match may look at


@dataclass(frozen=True)
class Case:
    """The step in question: its phase, and operands and result at the element (None: not known).

    ``finite`` says whether all of the operands are.
    """

    phase: str
    xs: tuple[Any, ...]
    y: Any
    finite: bool = False

    def x(self, k: int) -> Any:
        """Operand ``k``; NaN, which no comparison holds of, where it is not known."""
        known = k < len(self.xs) and self.xs[k] is not None
        return np.real(self.xs[k]) if known else np.nan


@dataclass(frozen=True)
class Remedy:
    """One line of the table."""

    pattern: Any
    text: str
    when: Callable[[Case], bool] = lambda case: True


LOG = frozenset({"log", "log2", "log10"})
EXP = frozenset({"exp", "exp2"})
SQUARE = [("square", "*"), ("power", "*", 2), ("multiply", "s", "s"), ("abs", "*")]
SUM = [("sum", SQUARE), ("einsum", "s", "s"), ("matmul", "s", "s")]
MEAN = [("divide", SUM, "*"), ("multiply", SUM, "*"), ("mean", SQUARE)]
EXPS = ("sum", (EXP, "*"))
PRODUCT = frozenset({"multiply", "einsum", "matmul"})
SHARES = [("softmax", "*"), ("divide", (EXP, "*"), EXPS),
          ("multiply", (EXP, "*"), [("divide", 1, EXPS), ("reciprocal", EXPS)])]
# Chosen by a mask, or by the ones among zeros.
CHOSEN = [*SHARES, ("where", "*", SHARES), ("where", "*", "*", SHARES),
          ("sum", [("multiply", "*", SHARES), ("multiply", SHARES, "*")]),
          (PRODUCT, "*", SHARES), (PRODUCT, SHARES, "*")]


def root(inner: Any) -> Any:
    """The square root of a pattern, in both spellings."""
    return [("sqrt", inner), ("power", inner, 0.5)]


def either(row: str, a: Any, b: Any) -> Any:
    """A step with two operands in either order."""
    return [(row, a, b), (row, b, a)]


def back(case: Case) -> bool:
    """Whether a derivative went wrong."""
    return case.phase in (BACKWARD, TANGENT)


def ahead(case: Case) -> bool:
    """Whether a value went wrong."""
    return case.phase == FORWARD


REMEDIES = (
    # ---- roots of squares
    Remedy(root(SUM), "np.linalg.norm(x) instead of sqrt(sum(x**2)): its gradient at 0 is 0", back),
    Remedy(root(MEAN), "np.linalg.norm(x) / np.sqrt(n), or np.std(x) if the mean was taken off "
           "before, instead of sqrt(mean(x**2)): their gradient is 0 where all are 0", back),
    Remedy(root(("add", SQUARE, SQUARE)), "np.hypot(x, z) instead of sqrt(x**2 + z**2): its "
           "gradient at (0, 0) is 0", back),
    Remedy(root(SQUARE[:3]), "np.abs(x) instead of sqrt(x**2): its derivative at 0 is 0", back),
    Remedy(("divide", "*", [*root(SUM), ("linalg.norm", "*")]), "a vector of length 0 has no "
           "direction: divide by np.where(length > 0, length, 1.0), or by norm(x) + 1e-12",
           lambda case: case.x(1) == 0),
    # ---- logarithms
    Remedy((LOG, ("sigmoid", "*")), "ad.log_sigmoid(x) instead of log(sigmoid(x)): sigmoid rounds "
           "to 0 for x far below 0, log_sigmoid stays about x"),
    Remedy((LOG, ("subtract", 1, ("sigmoid", "*"))), "ad.log_sigmoid(-x) instead of log(1 - "
           "sigmoid(x)): it does not round to log(0)"),
    Remedy([(LOG, CHOSEN), (PRODUCT, "*", (LOG, CHOSEN)), (PRODUCT, (LOG, CHOSEN), "*"),
            ("subtract", (LOG, (EXP, "*")), (LOG, EXPS))], "ad.log_softmax(x, axis) "
           "instead of log(softmax(x)): softmax rounds small probabilities to 0 (and of labels "
           "ad.nn.functional.cross_entropy takes the logits themselves)"),
    Remedy((LOG, [EXPS, ("divide", EXPS, "*"), ("mean", (EXP, "*"))]), "ad.logsumexp(x) instead of "
           "log(sum(exp(x))): it subtracts the maximum first, so that no exp overflows or all "
           "vanish (of a mean subtract np.log(n))"),
    Remedy((LOG, either("add", 1, (EXP, "*"))), "ad.softplus(x), or np.logaddexp(0, x), instead of "
           "log(1 + exp(x)): it does not overflow"),
    Remedy((LOG, ("add", (EXP, "*"), (EXP, "*"))), "np.logaddexp(x, z) instead of log(exp(x) + "
           "exp(z)): it shifts by the larger one first"),
    Remedy((LOG, [("subtract", (EXP, "*"), 1), ("subtract", 1, (EXP, "*"))]), "np.log(np.expm1(x)) "
           "for log(exp(x) - 1), np.log(-np.expm1(x)) for log(1 - exp(x)): exp(x) - 1 rounds to 0 "
           "for small x, expm1 does not"),
    Remedy((LOG, (EXP, "*")), "the argument itself: log(exp(x)) is x, and exp has rounded it to 0 "
           "or to infinity"),
    Remedy((LOG, ("prod", "*")), "np.sum(np.log(x)) instead of log(prod(x)): the product rounds to "
           "0 or to infinity first"),
    Remedy((LOG, [("linalg.det", "*"), ("abs", ("linalg.det", "*"))]), "np.linalg.slogdet(a)[1] "
           "instead of log(det(a)): the determinant rounds to 0 or to infinity first"),
    Remedy(either("multiply", "*", (LOG, "*")), "ad.xlogy(x, z) instead of x * log(z): it is 0 "
           "where x is 0, and so is its gradient"),
    # ---- quotients
    Remedy([("divide", 1, either("add", 1, (EXP, "*"))),
            ("divide", (EXP, "*"), either("add", 1, (EXP, "*")))], "ad.sigmoid(x) instead of "
           "1 / (1 + exp(-x)): it never forms the large exponential"),
    Remedy(("divide", (EXP, "*"), EXPS), "ad.softmax(x, axis) instead of exp(x) / sum(exp(x)): it "
           "subtracts the maximum first"),
    Remedy(("divide", ("subtract", (EXP, "*"), 1), "*"), "np.expm1(x) instead of exp(x) - 1, which "
           "rounds to 0 for small x; where x itself may be 0, divide by np.where(x == 0, 1.0, x) "
           "and choose the limit 1 there with np.where",
           lambda case: case.x(1) == 0 or case.x(0) == 0),
    Remedy(("divide", (LOG, either("add", 1, "*")), "*"), "np.log1p(x) instead of log(1 + x), "
           "which rounds to 0 for small x; where x itself may be 0, divide by np.where(x == 0, "
           "1.0, x) and choose the limit 1 there with np.where",
           lambda case: case.x(1) == 0 or case.x(0) == 0),
    Remedy(("divide", ("sin", "v"), "v"), "np.sinc(x / np.pi) instead of sin(x) / x: it is 1 at 0, "
           "with the right derivatives"),
    # ---- a branch that was not taken
    Remedy([("where", "*", "#"), ("where", "*", "*", "#")], "np.where chooses too late: the branch "
           "not taken is computed all the same. Give it a safe argument: np.where(x > 0, "
           "f(np.where(x > 0, x, 1.0)), 0.0)"),
    # ---- single steps
    Remedy((LOG,), "a logarithm of 0 or less: where the argument is a small positive number that "
           "rounded to 0, compute the logarithm directly (ad.log_sigmoid, ad.log_softmax, "
           "ad.logsumexp, ad.xlogy(x, z) for x * log(z)); under np.where give it a safe argument: "
           "np.log(np.where(x > 0, x, 1.0))", lambda case: case.x(0) <= 0),
    Remedy(("log1p",), "log1p(x) is finite for x > -1 only: keep x above it, or choose with "
           "np.log1p(np.where(x > -1, x, 0.0))", lambda case: case.x(0) <= -1),
    Remedy(("sqrt",), "the square root of a negative number is not real: if only rounding made it "
           "negative, np.sqrt(np.maximum(x, 0.0))", lambda case: case.x(0) < 0),
    Remedy([("sqrt",), ("cbrt",), ("power",)], "the root is vertical at 0: for lengths "
           "np.linalg.norm or np.hypot; under np.where give it a safe argument, np.sqrt(np.where("
           "x > 0, x, 1.0)); else add a small number under the root",
           lambda case: back(case) and case.x(0) == 0 and not case.x(1) >= 1),
    Remedy(("power",), "for x < 0, x**z is a real number at whole z only, so it has no derivative "
           "by z. If z is not a variable, pass a plain number or ad.stop_gradient(z); if it is, "
           "keep the base positive: np.exp(z * np.log(x))",
           lambda case: back(case) and case.x(0) < 0),
    Remedy(("power",), "a negative number to a power that is not whole is not real: "
           "np.abs(x) ** z, or np.sign(x) * np.abs(x) ** z, if that is what is meant",
           lambda case: ahead(case) and case.x(0) < 0 and case.x(1) % 1 != 0),
    Remedy([("power",), ("reciprocal",)], "a negative power of 0: keep the base away from 0, or "
           "give it a safe argument: np.where(x == 0, 1.0, x)", lambda case: case.x(0) == 0),
    Remedy(("divide",), "0 / 0 has no value: where it has a limit, choose it with np.where(z == 0, "
           "limit, x / np.where(z == 0, 1.0, z))", lambda case: case.x(0) == 0 and case.x(1) == 0),
    Remedy(("divide",), "a division by 0: give it a safe divisor, np.where(z == 0, 1.0, z), and "
           "choose with np.where what is meant there; or add a small number to it",
           lambda case: case.x(1) == 0),
    Remedy([("subtract",), ("add",)], "infinity minus infinity has no value: look where the "
           "infinities come from; for logarithms of sums ad.logsumexp and np.logaddexp never form "
           "the difference", lambda case: bool(np.isinf(case.x(0)) and np.isinf(case.x(1)))),
    Remedy([("multiply",), ("matmul",), ("linear",), ("einsum",)], "0 * infinity has no value: "
           "look where the infinity comes from; for x * log(z) write ad.xlogy(x, z); to leave "
           "elements out choose them with np.where, a factor 0 does not remove an infinity",
           lambda case: ahead(case) and not case.finite and bool(np.isnan(case.y))),
    Remedy((frozenset({"exp", "exp2", "expm1", "sinh", "cosh"}),), "the exponential overflows: "
           "write the whole expression in a form that subtracts the maximum first (ad.softmax, "
           "ad.log_softmax, ad.logsumexp, ad.softplus, ad.sigmoid), or hold the argument with "
           "np.minimum(x, 700.0)", lambda case: case.x(0) > 80),
    Remedy([("arcsin",), ("arccos",), ("arctanh",)], "defined between -1 and 1, with an infinite "
           "derivative at both ends: np.clip(x, -1 + 1e-12, 1 - 1e-12) inside; of an angle between "
           "vectors np.arctan2(sine, cosine) has no such ends",
           lambda case: abs(case.x(0)) >= 1),
    Remedy((frozenset({"std", "var"}),), "a variance divides by n - ddof, and n is not larger than "
           "ddof here: take more elements, or ddof=0"),
    Remedy(("arccosh",), "defined from 1 upwards, with an infinite derivative there: "
           "np.maximum(x, 1 + 1e-12)", lambda case: case.x(0) <= 1),
)


def see(n: Any) -> Any:
    """The step behind those that only move or cast numbers."""
    while n.inputs and n.prim.name in THROUGH:
        n = n.inputs[0]
    return n


class Match:
    """One attempt to fit a pattern; ``used`` are the steps that it covers."""

    def __init__(self, target: Any) -> None:
        self.target, self.bound, self.used, self.looks = target, dict[str, Any](), list[Any](), 0

    def fits(self, pattern: Any, given: Any) -> bool:
        """Whether the step ``given`` is as the pattern says."""
        self.looks += 1
        if self.looks > LOOKS:
            return False
        if isinstance(pattern, list):
            alternatives: list[Any] = pattern
            return any(self.tried(p, given) for p in alternatives)
        n = see(given)
        if isinstance(pattern, str):
            return self.named(pattern, given, n)
        if isinstance(pattern, (int, float)):
            return n.prim is CONSTANT and n.value is not None and bool(
                np.all(np.asarray(n.value) == pattern))
        row, *operands = pattern
        rows: Any = {row} if isinstance(row, str) else row
        if not n.inputs or n.prim.name not in rows or len(operands) > len(n.inputs):
            return False
        self.used += [n, given]
        return all(self.fits(p, i) for p, i in zip(operands, n.inputs, strict=False))

    def tried(self, pattern: Any, given: Any) -> bool:
        """Whether an alternative fits; one that does not leaves no trace."""
        bound, used = dict(self.bound), list(self.used)
        if self.fits(pattern, given):
            return True
        self.bound, self.used = bound, used
        return False

    def named(self, pattern: str, given: Any, n: Any) -> bool:
        """Whether a variable of the pattern fits; ``#`` is a branch with the target in it."""
        if pattern == "*":
            return True
        if pattern == "#":
            found = self.target in near_inputs(given)
            self.used += [self.target] if found else []
            return found
        return self.bound.setdefault(pattern, n) is n


def near_inputs(n: Any) -> list[Any]:
    """A step and those a few steps behind it."""
    found = level = [n]
    for _ in range(NEAR):
        level = [i for m in level for i in m.inputs or ()][:LOOKS]
        found = found + level
    return found


def remedy_for(n: Any, case: Case, downstream: Iterable[Any] = ()) -> str:
    """The first remedy of the table that fits the step, or one that it is a part of."""
    roots = [n, *downstream]
    for entry in REMEDIES:
        if not entry.when(case):
            continue
        for at in roots:
            match = Match(n)
            if match.fits(entry.pattern, at) and n in match.used:
                return entry.text
    return overflow(n, case)


def overflow(n: Any, case: Case) -> str:
    """The general word: too large a number, or a place that the row itself calls singular."""
    if n.prim.singular:
        return (f"{n.prim} or its derivative is not finite at this point: keep away from it, or "
                "choose another value there with np.where, and a safe argument inside")
    if ahead(case) and case.finite and np.isinf(case.y):
        dtype = np.asarray(case.y).dtype
        return (f"an overflow, unless {n.prim} has a pole there: the largest {dtype} is "
                f"{np.finfo(dtype).max:.2g}; scale the numbers down, or compute with their "
                "logarithms")
    return ""


def consumers(n: Any, nodes: Sequence[Any]) -> list[Any]:
    """The steps among ``nodes`` that use ``n``, directly or a few steps on."""
    found: list[Any] = []
    level: set[Any] = {n}
    for _ in range(2 * NEAR):
        level = {m for m in nodes if m.inputs and any(i in level for i in m.inputs)} - set(found)
        found += sorted(level, key=lambda m: m.index)
    return found
