"""Sums of products (matmul, einsum, convolutions) in which a zero downstream wins (DESIGN 6)."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from adjoint.core.box import Level, bind
from adjoint.core.careful import factor, has_nan, released

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from adjoint.core.primitive import Primitive


def multilinear(row: Primitive) -> Primitive:
    """``row``, a sum of products, with its ``zero_wins``: another row, for the same sum."""
    @lru_cache(maxsize=64)
    def version(downstream: tuple[bool, ...]) -> Primitive:
        def further(others: Sequence[bool], *xs: Any, **params: Any) -> Any:
            """A zero of what is downstream of this product wins too."""
            both = tuple([d or o for d, o in zip(downstream, others, strict=True)])
            return bind(version(both), xs, params)
        return replace(row, zero_wins=further, **careful(row, downstream))
    return replace(row, zero_wins=lambda downstream, *xs, **params: bind(
        version(downstream), xs, params))


def careful(row: Primitive, downstream: Sequence[bool]) -> dict[str, Callable[..., Any]]:
    """The rules of a sum of products in which the zeros of the arguments ``downstream`` win.

    They are the rules of ``row`` on Factors. A cotangent stands in the place of the argument that
    it belongs to: downstream of the others, or upstream.
    """
    def held(xs: Sequence[Any], level: int) -> list[Any]:
        return [factor(x, level, downstream=True) if d else x
                for x, d in zip(xs, downstream, strict=True)]

    def impl(*xs: Any, **params: Any) -> Any:
        return sum_of_products(row.impl, downstream, xs, params)

    def jvp(dxs: Any, y: Any, *xs: Any, **params: Any) -> Any:
        with Level() as level:
            return released(row.jvp(held(dxs, level), y, *held(xs, level), **params), level)

    def vjp(dy: Any, y: Any, *xs_needs: Any, **params: Any) -> tuple[Any, ...]:
        *xs, needs = xs_needs

        def part(k: int, level: int) -> Any:
            only = tuple([j == k for j in range(len(xs))])
            d = factor(dy, level, downstream=True) if downstream[k] else dy
            return released(row.vjp(d, y, *held(xs, level), only, **params)[k], level)
        with Level() as level:
            return tuple([part(k, level) if need else None for k, need in enumerate(needs)])

    def batch(size: int, axes: Any, *xs: Any, **params: Any) -> tuple[Any, Any]:
        with Level() as level:
            y, axis = row.batch(size, axes, *held(xs, level), **params)
            return released(y, level), axis
    return {"impl": impl, "jvp": jvp, "vjp": vjp, "batch": batch}


def sum_of_products(impl: Callable[..., Any], downstream: Sequence[bool], xs: Sequence[Any],
                    params: dict[str, Any]) -> Any:
    """The sum without the terms that have a zero downstream and a factor that is not finite.

    Only if a NaN came out are the terms looked at: those of finite factors are summed without the
    others, and of the others that count it is asked how many there are, and with which sign.
    """
    y = impl(*xs, **params)
    if not has_nan(y):
        return y
    finite = [np.isfinite(x) for x in xs]

    def terms(of: Callable[[Any, Any], Any]) -> Any:
        """The sum of other products, over those terms alone that have a factor not finite."""
        parts = [of(np.asarray(x), d) for x, d in zip(xs, downstream, strict=True)]
        usual = [np.where(f, part, 0) for f, part in zip(finite, parts, strict=True)]
        return impl(*parts, **params) - impl(*usual, **params)
    with np.errstate(all="ignore"):
        regular = impl(*[np.where(f, x, 0) for f, x in zip(finite, xs, strict=True)], **params)
        count = terms(lambda x, d: (x != 0) * 1.0 if d else np.ones(x.shape))
        sign = terms(lambda x, d: np.sign(np.where(np.isnan(x), 0, x)))
        infinite = np.where(np.abs(sign) == count, sign * np.inf, np.nan)
        return np.where(count > 0, infinite + regular, regular).astype(y.dtype)[()]
