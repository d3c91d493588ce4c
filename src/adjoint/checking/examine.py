"""The tests of `ad.check`, each of which gives one Finding."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from adjoint.core.primitive import PUBLIC
from adjoint.transforms import grad, jvp, vjp

from .differences import Slope, slope
from .problem import joined
from .report import FAILED, KINK, OK, SKIPPED, UNSURE, Finding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from .problem import Problem

Array = Any
ELEMENTS = 40  # arguments with more elements than this are differenced in as many, drawn at random
DENSE = "a random direction"


@dataclass
class Examination:
    """One problem with what several tests share: directions, slopes, and a cotangent."""

    problem: Problem
    rng: np.random.Generator
    rtol: float | None
    modes: Sequence[str]

    def __post_init__(self) -> None:
        p = self.problem
        total = sum(p.sizes)
        chosen = (
            range(total)
            if total <= ELEMENTS
            else sorted(self.rng.choice(total, ELEMENTS, replace=False))
        )
        self.directions = [p.coordinate(int(k)) for k in chosen]
        if total > 1:
            self.directions.append((p.draw(self.rng, p.wide), DENSE))
        if p.complex:
            self.directions += [
                ([1j * d if d.dtype.kind == "c" else 0.0 * d for d in v], f"{name}, imaginary part")
                for v, name in list(self.directions)
                if any(d.dtype.kind == "c" for d in v)
            ]
        self.cotangent = p.draw(self.rng, p.results)

    @cached_property
    def tight(self) -> float:
        """The relative tolerance where rounding is all that can differ."""
        return self.problem.eps**0.6 if self.rtol is None else self.rtol

    @cached_property
    def loose(self) -> float:
        """The relative tolerance beside differences, however small they say that their error is."""
        return self.problem.eps**0.5 if self.rtol is None else self.rtol

    def slack(self, s: Slope) -> float:
        """What rounding may do to a derivative that is much smaller than usual: cancellation."""
        return 16.0 * self.problem.eps * s.natural

    @cached_property
    def slopes(self) -> list[Slope]:
        """The reference slope along each direction."""
        p = self.problem
        found = [
            slope(lambda h, v=v: p.along(v, h), *self.magnitudes(v), p.rounding)
            for v, _ in self.directions
        ]
        known = np.all([s.known for s in found], axis=0)
        for s in (
            found
        ):  # 0 times an infinite partial is NaN in forward mode: such a result is no test elsewhere
            s.error = np.where(known, s.error, np.nan)
        return found

    @cached_property
    def kinks(self) -> bool:
        """Whether any one-sided slopes differ."""
        return any(bool(np.any(s.kinks)) for s in self.slopes)

    def magnitudes(self, direction: Sequence[Array]) -> tuple[float, float]:
        """The largest and the smallest |x| that a direction moves."""
        moved = np.abs(
            joined([x[d != 0] for x, d in zip(self.problem.wide, direction, strict=True)])
        )
        return float(np.max(moved, initial=0.0)), float(np.min(moved, initial=np.inf))

    def narrow(self, direction: Sequence[Array]) -> tuple[Array, ...]:
        """A direction in the dtypes of the arguments."""
        return tuple(
            np.asarray(d).astype(v.dtype)
            for d, v in zip(direction, self.problem.values, strict=True)
        )

    def push(self, direction: Sequence[Array]) -> Array:
        """The derivative along a direction by forward mode, as one vector."""
        p = self.problem
        return joined(
            [np.asarray(d) for d in jvp(p.call, tuple(p.values), self.narrow(direction))[1]]
        )

    @cached_property
    def pullback(self) -> Callable[[list[Array]], list[Array]]:
        """Reverse mode at the point."""
        p = self.problem
        back = vjp(p.call, *p.values)[1]
        return lambda dy: [np.asarray(dx) for dx in back(dy)]

    # ---- order 1

    def adjoint_identity(self) -> Finding:
        """<w, J v> = <J' w, v>: forward and reverse mode are transposes of each other."""
        p, findings = self.problem, list[Finding]()
        for _ in range(3):
            v, w = p.draw(self.rng, p.values), p.draw(self.rng, p.results)
            dy, dx = self.push(v), joined(self.pullback(w))
            left, right = inner(joined(w), dy), inner(dx, joined(v))
            scale = float(np.abs(joined(w)) @ np.abs(dy) + np.abs(dx) @ np.abs(joined(v)))
            findings.append(
                judge(
                    np.array([left]),
                    exactly(np.array([right]), scale),
                    self.tight,
                    lambda _: "forward mode got, reverse mode expected, with random vectors",
                    self.usual(w) * float(np.max(np.abs(joined(v)))),
                )
            )
        worst = worst_of(findings)
        return self.explained(worst) if worst.status == FAILED else worst

    def usual(self, w: Sequence[Array]) -> float:
        """What rounding may do to a contraction with w of slopes much smaller than usual."""
        return max(map(self.slack, self.slopes)) * float(np.abs(joined(w)).sum())

    def explained(self, finding: Finding) -> Finding:
        """A failed identity, at the element where the two modes differ most."""
        w, dx, worst = joined(self.cotangent), self.pullback(self.cotangent), finding
        for v, name in self.directions:
            column = self.push(v)
            left, right = inner(joined(dx), joined(v)), inner(w, column)
            scale = float(np.abs(w) @ np.abs(column)) + abs(left)
            found = judge(
                np.array([left]),
                exactly(np.array([right]), scale),
                self.tight,
                lambda _, name=name: f"{name}: reverse mode got, forward mode expected",
                self.usual([w]),
            )
            if (
                found.status == FAILED
                and name != DENSE
                and (worst is finding or found.error > worst.error)
            ):
                worst = found
        return worst

    def forward(self) -> Finding:
        """Forward mode along every direction, against the slopes."""
        return worst_of(
            judge(
                self.push(v),
                s,
                self.loose,
                lambda k, name=name: self.place(name, k),
                self.slack(s),
            )
            for (v, name), s in zip(self.directions, self.slopes, strict=True)
        )

    def reverse(self) -> Finding:
        """The cotangent of every element by reverse mode, against the slopes contracted with w."""
        return worst_of(self.contracted())

    def contracted(self) -> Iterator[Finding]:
        """One Finding for each direction: <J'w, v> against <w, slopes>."""
        p, w, dx = self.problem, joined(self.cotangent), joined(self.pullback(self.cotangent))
        for (v, name), s in zip(self.directions, self.slopes, strict=True):
            got = inner(dx, joined(v))
            if p.complex:
                low = high = inner(w, s.low)
            else:
                ends = np.stack([w * s.low, w * s.high])
                low, high = ends.min(axis=0).sum(), ends.max(axis=0).sum()
            error = np.abs(w) @ s.error if np.all(s.known) else np.nan
            size = float(np.abs(w).sum())
            total = Slope(
                np.array([low]),
                np.array([high]),
                np.array([error]),
                size * s.natural,
                size * s.scale,
            )
            yield judge(
                np.array([got]),
                total,
                self.loose,
                lambda _, name=name: f"{name}, result contracted with w",
                self.slack(total),
            )

    def place(self, name: str, k: int) -> str:
        """Where element k of the result stands in the derivative along a direction."""
        single = len(self.problem.results) == 1 and self.problem.results[0].ndim == 0
        return name if single else f"{name}, {self.problem.element(k)}"

    def complex_step(self) -> Finding:
        """Im f(x + ihv) / h, exact to rounding where f is holomorphic; forward mode against it."""
        if self.problem.complex:
            return Finding("", SKIPPED, note="the arguments or results are complex themselves")
        if self.kinks:
            return Finding("", SKIPPED, note="not holomorphic at a kink")
        columns = []
        for (v, _), s in zip(self.directions, self.slopes, strict=True):
            # No difference is taken, so nothing cancels; the larger step is to show a branch point.
            steps = (self.magnitudes(v)[0] or 1.0) * np.array([1e-20, 1e-8])
            try:
                column, check = [self.problem.imaginary(v, h).imag / h for h in steps]
            except Exception as e:  # noqa: BLE001 - whatever it raises says: no complex numbers
                return Finding(
                    "", SKIPPED, note=f"complex numbers are refused ({type(e).__name__})"
                )
            off = np.maximum(np.abs(s.low - column) - 10 * s.error, np.abs(column - check))
            if not np.all(off <= 1e-5 * s.scale):
                return Finding("", SKIPPED, note="not holomorphic (abs, max, comparisons, casts)")
            columns.append(column)
        return worst_of(
            judge(
                self.push(v),
                exactly(c, s.scale),
                self.tight,
                lambda k, name=name: self.place(name, k),
                self.slack(s),
            )
            for (v, name), c, s in zip(self.directions, columns, self.slopes, strict=True)
        )

    # ---- order 2

    def contraction(self, *values: Any) -> Any:
        """The scalar <w, f(x)>, whose second derivatives are tested."""
        total: Any = 0.0
        for y, w in zip(self.problem.call(*values), self.cotangent, strict=True):
            total = total + PUBLIC["sum"](y * w)
        return total

    def gradient(self, *values: Any) -> Any:
        """The gradient of the contraction."""
        return grad(self.contraction, tuple(range(len(values))))(*values)

    def over(self, v: Sequence[Array]) -> tuple[list[Array], list[Array]]:
        """H v by forward over reverse mode and by reverse over forward mode."""
        values = tuple(self.problem.values)
        first = jvp(self.gradient, values, tuple(v))[1]
        second = grad(
            lambda *xs: jvp(self.contraction, xs, tuple(v))[1], tuple(range(len(values)))
        )(*values)
        return [np.asarray(h) for h in first], [np.asarray(h) for h in second]

    def nestings(self) -> Finding:
        """Both ways to nest the modes give one H v."""
        p = self.problem
        v = p.draw(self.rng, p.values)
        first, second = map(joined, self.over(v))
        slack = 1e-3 * float(np.max(np.abs(joined(list(self.gradient(*p.values)))), initial=0.0))
        scale = (
            max(float(np.max(np.abs(np.nan_to_num(h)), initial=0.0)) for h in (first, second))
            + slack
        )
        return judge(
            first,
            exactly(second, scale),
            self.tight,
            lambda k: f"{self.input_name(k)} of H v, reverse over forward expected",
        )

    def curvature(self) -> Finding:
        """H v against finite differences of the gradient."""
        if self.kinks:
            return Finding("", SKIPPED, note="the gradient jumps at a kink")
        p = self.problem
        v = p.draw(self.rng, p.values)
        got = joined([np.asarray(h) for h in jvp(self.gradient, tuple(p.values), tuple(v))[1]])

        def along(h: float) -> Array:
            return joined(
                [
                    np.asarray(g)
                    for g in self.gradient(*[x + h * d for x, d in zip(p.wide, v, strict=True)])
                ]
            )

        magnitude, smallest = self.magnitudes(v)
        value = float(np.max(np.abs(p.along(v, 0.0)), initial=0.0))
        s = slope(along, magnitude, smallest, p.rounding, value / max(magnitude, 1.0))
        return judge(
            got, s, self.loose, lambda k: f"{self.input_name(k)} of H v", self.slack(s)
        )

    def input_name(self, k: int) -> str:
        """The name of element k of all arguments."""
        return self.problem.coordinate(k)[1]


def inner(a: Array, b: Array) -> float:
    """The real inner product, Re sum conj(a) b, which the gradient of complex variables uses."""
    return float(np.real(np.vdot(a, b)))


def exactly(value: Array, scale: float) -> Slope:
    """A reference without an error of its own."""
    return Slope(value, value, np.where(np.isfinite(value), 0.0, np.nan), scale, scale)


def judge(
    got: Array, s: Slope, rtol: float, where: Callable[[int], str], slack: float = 0.0
) -> Finding:
    """The worst element of ``got``, which should lie in the slope's interval."""
    if not got.size:
        return Finding("", OK, note="no elements")
    with np.errstate(invalid="ignore"):
        outside = (
            np.abs(got - s.low)
            if np.iscomplexobj(got) or np.iscomplexobj(s.low)
            else np.maximum(np.maximum(s.low - got, got - s.high), 0.0)
        )
        size = np.maximum(np.abs(s.low), np.abs(s.high)) + s.scale
        tolerance = 8.0 * s.error + rtol * size + slack
    outside = np.where(np.isnan(outside), np.inf, outside)
    known = s.known
    ratio = outside / np.maximum(np.where(known, tolerance, np.inf), 1e-300)

    def finding(status: str, k: int, note: str = "") -> Finding:
        found = Finding("", status, float(outside[k]), float(tolerance[k]), note=note)
        expected = (s.low[k], s.high[k]) if s.kinks[k] else s.low[k]
        return (
            found
            if status == OK
            else replace(found, where=where(k), got=got[k], expected=expected)
        )

    k = int(np.argmax(ratio))
    if ratio[k] > 1.0:
        return finding(FAILED, k)
    if not np.all(known):
        return no_reference(got, known, where)
    if np.any(s.kinks):
        return finding(KINK, int(np.argmax(s.kinks)), "the one-sided derivatives differ")
    # Where nothing differs the tolerance is shown where it is widest.
    return finding(OK, k if ratio[k] else int(np.argmax(tolerance)))


def no_reference(got: Array, known: Array, where: Callable[[int], str]) -> Finding:
    """The finding for an element whose slope nothing is known of."""
    k = int(np.argmin(known))
    why = "a singular point, the end of the domain, or noise"
    return Finding(
        "", UNSURE, where=where(k), note=f"got {got[k]:.6g}, but there is no reference: {why}"
    )


def worst_of(findings: Iterable[Finding]) -> Finding:
    """The worst outcome: one with a place before one without, a kink before plain agreement."""

    def rank(f: Finding) -> tuple[bool, bool, bool, bool, float]:
        bad, failed, ratio = f.rank
        return bad, failed, failed and not f.where.startswith(DENSE), f.status == KINK, ratio

    return max(findings, key=rank, default=Finding("", OK, note="no elements"))
