"""Rules that keep the digits of log(softmax(x)), where a share of the sum rounds to 0.

``p = exp(x) / s``, s the sum of exp(x) along axes, is spelled out by users, and its logarithm
taken. Eagerly that is -inf where p rounds to 0, NaN where exp(x) overflows, and the slope NaN.
Compiled, the logarithm is that of `ad.log_softmax`, and in the chain rule, where c / p is
multiplied by p, c remains: products are expanded in powers of p and s, and what cancels is left
out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from .algebra import is_zero
from .branches import opposite, through
from .editor import rule
from .returns import LINEAR, SELECTS, moved, origin, returned, selected_alike
from .softmaxes import centred, kept

if TYPE_CHECKING:
    from adjoint.ops.loops import Shape

    from .editor import Editor
    from .program import Statement

DEPTH = 8   # factors and terms, one in the other, that are expanded
TERMS = 4   # of a sum that is multiplied out


class Share(NamedTuple):
    """``p = power / seen``, where seen is the sum of power = exp(x) along axes, broadcast."""

    p: int
    x: int
    power: int
    seen: int
    axes: Shape


class Term(NamedTuple):
    """``+-(product of factors) * p**shares * s**sums``.

    ``met``: a p or an s has met its inverse.
    """

    factors: tuple[int, ...] = ()
    shares: int = 0
    sums: int = 0
    negative: bool = False
    met: bool = False


# ---- what is a share, and those of which there is a logarithm or a quotient

def share_of(e: Editor, p: int) -> Share | None:
    """A quotient as a share, if it is one."""
    if e.function(p) != "divide" or e.known(p).dtype.kind != "f":
        return None
    power, seen = e.statements[p].inputs
    total = e.statements[seen]
    summed = e.statements[total.inputs[0]] if total.name == "view" else total
    if summed.name != "reduce" or summed.parameters[0] != "add" or summed.inputs != (power,) or (
            e.function(power) != "exp"):
        return None
    axes = summed.parameters[1]
    shape = e.known(power).shape
    if total.name == "view" and total.parameters[0] != kept(shape, axes):
        return None
    return Share(p, e.statements[power].inputs[0], power, seen, axes)


def noted(e: Editor, n: int) -> Share | None:
    """The share that a statement is or sees some elements of, noted for the rules of products."""
    share = share_of(e, origin(e, n))
    if share is not None:
        found: dict[int, Share] = e.memo.setdefault("shares", {})
        for k in (share.p, share.power, share.seen):
            found[k] = share
    return share


def shifted(e: Editor, share: Share) -> Share:
    """The same share, of numbers from which their maximum was taken, if it is finite."""
    if centred(e, share.x, share.axes):
        return share
    shape = e.known(share.x).shape
    top = e.reduce("maximum", share.x, share.axes)
    top = e.select(e.map("isfinite", top), top, e.like(top, 0))
    x = e.map("subtract", share.x, e.view(top, kept(shape, share.axes), shape))
    power = e.map("exp", x)
    seen = e.view(e.reduce("add", power, share.axes), kept(shape, share.axes), shape)
    return Share(e.map("divide", power, seen), x, power, seen, share.axes)


# ---- the logarithm

@rule("log", says="log(exp(x) / s) = log_softmax(x) where s is the sum of exp(x)", stabilises=True)
def logarithm_of_share(e: Editor, s: Statement) -> int | None:
    """The logarithm of shares, or of some of them."""
    if (share := noted(e, s.inputs[0])) is None:
        return None
    near = shifted(e, share)
    value = e.map("subtract", near.x, e.map("log", near.seen))
    return selected_alike(e, s.inputs[0], share.p, value)


# ---- the chain rule

@rule("scatter_add", "pad", "copy", "view", "reduce",
      says="c / p[i] put at i is what c is there, / p", stabilises=True)
def quotient_put_back(e: Editor, s: Statement) -> int | None:
    """The cotangent of some of the shares, a step on its way back to them.

    A view may be offered again while it is rewritten: 1 / p[i] is (1 / p)[i].
    """
    if "shares" not in e.memo:
        return None
    key = "put back", s.name, s.inputs, s.parameters[:2]
    if key not in e.memo:
        e.memo[key] = None
        e.memo[key] = put_back(e, s)
    return e.memo[key]


def put_back(e: Editor, s: Statement) -> int | None:
    """A quotient by shares after the statement, where it was before it."""
    n = s.inputs[0]
    if s.name in LINEAR and e.function(n) in {"add", "subtract"}:
        terms = [(i, *s.inputs[1:]) for i in e.statements[n].inputs]
        if any(quotient_put_back(e, s._replace(inputs=i)) is not None for i in terms):
            return e.map(e.function(n), *[moved(e, s, i) for i, *_ in terms])
    c, d = parted(e, n, DEPTH) or (-1, -1)
    if d < 0 or d == origin(e, d) or (p := returned(e, s, d)) is None:
        return None
    return over(e, moved(e, s, c), p)


def over(e: Editor, c: int, p: int) -> int:
    """``c / p``, but 0 where c is 0 and that is NaN."""
    product = e.map("multiply", c, e.map("divide", e.like(p, 1), p))
    nothing = e.like(c, 0)
    lost = e.map("logical_and", e.map("equal", c, nothing), e.map("isnan", product))
    return e.select(lost, nothing, product)


@rule("add", says="c / p + d / p = (c + d) / p, p some shares of a sum of exponentials",
      stabilises=True)
def sum_of_quotients(e: Editor, s: Statement) -> int | None:
    """Cotangents that several logarithms give to the same shares, as one quotient."""
    if "shares" not in e.memo:
        return None
    (c, p), (d, q) = [parted(e, i, DEPTH) or (-1, -1) for i in s.inputs]
    return over(e, e.map("add", c, d), p) if p == q >= 0 else None


def parted(e: Editor, n: int, depth: int) -> tuple[int, int] | None:
    """``c`` and ``d`` of ``c / d``, where d is some of the shares."""
    inner = e.statements[n]
    if inner.name == "view" and e.function(inner.inputs[0]) == "divide":
        c, p = e.statements[inner.inputs[0]].inputs
        return (moved(e, inner, c), moved(e, inner, p)) if of_shares(e, p) else None
    if e.function(n) == "divide":
        c, d = inner.inputs
        return (c, d) if of_shares(e, d) else None
    if not depth:
        return None
    if e.function(n) == "add" and is_zero(e, inner.inputs[1]):
        return parted(e, inner.inputs[0], depth - 1)
    if e.function(n) == "negative":
        found = parted(e, inner.inputs[0], depth - 1)
        return found and (e.map("negative", found[0]), found[1])
    m = product_of(e, n)
    if m is not None and e.function(m) == "multiply":
        for one, other in ((both := e.statements[m].inputs), both[::-1]):
            found = parted(e, one, depth - 1)
            if found is not None:
                return e.map("multiply", found[0], other), found[1]
    return None


def of_shares(e: Editor, d: int) -> bool:
    """Whether a statement is a share, or selects some."""
    share = e.memo["shares"].get(p := origin(e, d))
    return share is not None and share.p == p


@rule("multiply", says="(c / p) p = c, p a share of a sum of exponentials", stabilises=True)
def share_cancelled(e: Editor, s: Statement) -> int | None:
    """A product in which a share, or the sum, meets its own inverse."""
    if "shares" not in e.memo:
        return None
    for share in shares_of(e, s):
        one, other = [expanded(e, n, share, DEPTH) for n in s.inputs]
        terms = [times(t, u) for t in one or () for u in other or ()]
        if any(t.met for t in terms) and all(t.shares in {0, 1} for t in terms):
            return summed(e, terms, share)
    return None


@rule("multiply", says="t[i] (1 / p[i]) = (t / p)[i], which p may cancel", stabilises=True)
def cancelled_before(e: Editor, s: Statement) -> int | None:
    """What forward mode divides by some of the shares: something of which these are seen, too."""
    if "shares" not in e.memo:
        return None
    for quotient, other in (s.inputs, s.inputs[::-1]):
        if e.function(quotient) != "divide" or e.statements[other].name not in SELECTS:
            continue
        one, below = e.statements[quotient].inputs
        if e.numbers.get(one) != 1 or not of_shares(e, below):
            continue
        p, source = origin(e, below), origin(e, other)
        if below == p or selected_alike(e, below, p, source) != other:
            continue
        terms = expanded(e, source, e.memo["shares"][p], DEPTH)
        if terms and all(t.shares == 1 for t in terms):
            value = e.map("multiply", source, e.map("divide", e.like(p, 1), p))
            return selected_alike(e, other, source, value)
    return None


def shares_of(e: Editor, s: Statement) -> list[Share]:
    """The shares in an expression of the shape of a statement."""
    shape = e.known(s.inputs[0]).shape
    return [v for n, v in e.memo["shares"].items() if n == v.p and e.known(n).shape == shape]


@rule("reduce", says="the sum of c / s, s a sum of exponentials, is the sum of c, / s",
      stabilises=True)
def divided_after_the_sum(e: Editor, s: Statement) -> int | None:
    """What the sum of exponentials divides throughout, so that it is seen from outside."""
    if "shares" not in e.memo or s.parameters[0] != "add":
        return None
    for share in shares_of(e, s):
        if share.axes == s.parameters[1] and (found := reduced(e, s, share)) is not None:
            return found
    return None


def reduced(e: Editor, s: Statement, share: Share) -> int | None:
    """The sum of a quotient by what is one number along the axes of the sum."""
    found = expanded(e, s.inputs[0], share, DEPTH)
    if found is None or len(found) != 1 or (found[0].shares, found[0].sums) != (0, -1):
        return None
    total = e.statements[share.seen].inputs[0]
    c = e.reduce("add", product(e, found[0], share), share.axes)
    return e.map("divide", e.map("negative", c) if found[0].negative else c, total)


@rule("divide", says="the sum of c exp(x), / s, is the sum of c p", stabilises=True)
def sum_of_shares(e: Editor, s: Statement) -> int | None:
    """What forward mode divides by the sum of exponentials: it overflows where they do.

    A division by a share is noted here: the derivative of its logarithm begins with one.
    """
    top, total = s.inputs
    noted(e, total)
    if "shares" not in e.memo or e.statements[top].name != "reduce":
        return None
    (terms,), (op, axes) = e.statements[top].inputs, e.statements[top].parameters
    for share in shares_of(e, e.statements[top]):
        if op == "add" and axes == share.axes and e.statements[share.seen].inputs == (total,):
            found = expanded(e, terms, share, DEPTH)
            if found and len(found) == 1 and (found[0].shares, found[0].sums) == (1, 1):
                n = written(e, found[0]._replace(sums=0), share)
                n = n if n is None else e.reduce("add", n, axes)
                return e.map("negative", n) if n is not None and found[0].negative else n
    return None


# ---- products in powers of a share and its sum

def expanded(e: Editor, n: int, share: Share, depth: int) -> list[Term] | None:
    """A statement as a sum of terms; None if they are too many."""
    key = ("terms", n, share.p)
    if key not in e.memo:
        found = multiplied_out(e, n, share, depth)
        if found is not None and not any(t.shares or t.sums for t in found):
            found = [Term(() if e.numbers.get(n) == 1 else (n,))]
        e.memo[key] = found if found is None or len(found) <= TERMS else None
    return e.memo[key]


def multiplied_out(e: Editor, n: int, share: Share, depth: int) -> list[Term] | None:
    """``expanded``, where one term without shares may still be written as several."""
    known = {share.p: Term((), 1), share.power: Term((), 1, 1), share.seen: Term((), 0, 1)}
    if n in known or not depth:
        return [known.get(n, Term((n,)))]
    s, f = e.statements[n], e.function(n)
    if s.name == "view":
        return [viewed_quotient(e, n, share) or Term((n,))]
    if f == "negative":
        return [negated(t) for t in expanded(e, s.inputs[0], share, depth - 1) or ()] or None
    if f == "divide":
        below = known.get(s.inputs[1])
        above = expanded(e, s.inputs[0], share, depth - 1) if below else [Term((n,))]
        return [times(t, inverse(below)) if below else t for t in above or ()] or None
    m = n if f in {"add", "subtract"} else product_of(e, n, share)
    if m is None:
        return [Term((n,))]
    if m != n and e.function(m) != "multiply":
        return expanded(e, m, share, depth - 1)
    one, other = [expanded(e, i, share, depth - 1) or () for i in e.statements[m].inputs]
    if f == "subtract":
        other = [negated(t) for t in other]
    terms = [*one, *other] if m == n and f != "multiply" else [
        times(a, b) for a in one for b in other]
    return terms if one and other else None


def viewed_quotient(e: Editor, n: int, share: Share) -> Term | None:
    """What was divided by the sum before both were broadcast."""
    index, shape = e.statements[n].parameters
    inner = e.statements[n].inputs[0]
    negative = e.function(inner) == "negative"
    inner = e.statements[inner].inputs[0] if negative else inner
    below = e.statements[share.seen]
    if e.function(inner) != "divide" or below.name != "view" or (
            below.inputs[0] != e.statements[inner].inputs[1]) or below.parameters != (index, shape):
        return None
    return Term((e.view(e.statements[inner].inputs[0], index, shape),), 0, -1, negative)


def product_of(e: Editor, n: int, share: Share | None = None) -> int | None:
    """A product; also a product or quotient that is 0 where one of its factors is."""
    s = e.statements[n]
    if e.function(n) == "multiply":
        return n
    if s.name != "select" or not is_zero(e, s.inputs[1]):
        return None
    f, parts = through(e, s.inputs[0])
    conditions = (s.inputs[0],) if f == "equal" else parts if f == "logical_and" else ()
    inner = s.inputs[2]
    if conditions and e.statements[inner].name == "select":
        inner = product_of(e, inner, share)
    if inner is None:
        return None
    factors = factors_of(e, inner, DEPTH) | {*over_shares(e, inner, share)}
    for condition in conditions:
        f, parts = through(e, condition)
        if zero_there(e, condition, factors) or (f == "equal" and is_zero(e, parts[1]) and (
                parts[0] in factors or only_zero_by(e, parts[0], factors, share))):
            return inner
    return None


def zero_there(e: Editor, condition: int, factors: set[int]) -> bool:
    """Whether a condition holds only where a factor is 0."""
    told = e.statements[condition]
    for i in factors:
        s = e.statements[i]
        alike = s.name == told.name == "view" and s.parameters == told.parameters
        if zero_by(e, *((told.inputs[0], s.inputs[0]) if alike else (condition, i))):
            return True
    return False


def zero_by(e: Editor, condition: int, factor: int) -> bool:
    """Whether a constant, or a choice by the same condition, is 0 where it holds."""
    where, array = e.array(condition), e.array(factor)
    if where is not None and array is not None and where.shape == array.shape:
        return not (array != 0)[where].any()
    choice = e.statements[factor]
    if choice.name != "select":
        return False
    c, x, z = choice.inputs
    negated = opposite(e, condition) == c or opposite(e, c) == condition
    return (negated and is_zero(e, z)) or (c == condition and is_zero(e, x))


def only_zero_by(e: Editor, n: int, factors: set[int], share: Share | None) -> bool:
    """Whether what shares divide is 0 only where one of some factors is, or never."""
    found = over_shares(e, n, share)
    return bool(found) and all(i in factors or e.numbers.get(i, 0) != 0 for i in found)


def over_shares(e: Editor, n: int, share: Share | None) -> tuple[int, ...]:
    """The factors of what is divided by shares, or by a sum of exponentials."""
    found = expanded(e, n, share, DEPTH) if share is not None else None
    only = found[0] if found and len(found) == 1 else Term(shares=1)
    return only.factors if only.shares <= 0 and only.sums <= 0 else ()


def factors_of(e: Editor, n: int, depth: int) -> set[int]:
    """Statements of which a product is certainly 0 or NaN where they are 0."""
    f, inputs = e.function(n), e.statements[n].inputs
    if not depth or f not in {"multiply", "divide", "negative"}:
        return {n}
    return {n}.union(*[factors_of(e, i, depth - 1) for i in (
        inputs if f == "multiply" else inputs[:1])])


def negated(t: Term) -> Term:
    """The opposite."""
    return t._replace(negative=not t.negative)


def inverse(t: Term) -> Term:
    """The inverse of a share or of a sum."""
    return Term((), -t.shares, -t.sums)


def times(a: Term, b: Term) -> Term:
    """The product of two terms."""
    met = a.shares * b.shares < 0 or a.sums * b.sums < 0
    return Term((*a.factors, *b.factors), a.shares + b.shares, a.sums + b.sums,
                a.negative != b.negative, a.met or b.met or met)


def summed(e: Editor, terms: list[Term], share: Share) -> int | None:
    """The sum of terms, with shares that do not overflow."""
    found: int | None = None
    for t in sorted(terms, key=lambda t: t.negative):
        n = written(e, t, share)
        if n is None:
            return None
        if found is None:
            found = e.map("negative", n) if t.negative else n
        else:
            found = e.map("subtract" if t.negative else "add", found, n)
    return found


def written(e: Editor, t: Term, share: Share) -> int | None:
    """One term, without its sign."""
    rest = product(e, t, share)
    if (t.shares, t.sums) == (0, 0):
        return rest
    if (t.shares, t.sums) == (1, 0):
        return e.map("multiply", rest, shifted(e, share).p)
    if (t.shares, t.sums) == (0, -1):
        return e.map("divide", rest, share.seen)
    if (t.shares, t.sums) == (1, 1):
        return e.map("multiply", rest, share.power)
    return None


def product(e: Editor, t: Term, share: Share) -> int:
    """The product of the factors of a term."""
    found = t.factors[0] if t.factors else e.like(share.p, 1)
    for n in t.factors[1:]:
        found = e.map("multiply", found, n)
    return found
