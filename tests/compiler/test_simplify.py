"""The stage that simplifies: each rule, then rows and random programs, before and after."""

from itertools import product

import numpy as np
import pytest
from compilations import ROWS, drawn, outcomes, quiet

import adjoint as ad
from adjoint.compiler import editor
from adjoint.compiler.program import ProgramBuilder, lowered
from adjoint.compiler.refine import refined
from adjoint.compiler.simplify import rules, simplified
from adjoint.core.node import aval_of
from adjoint.core.symbol import trace

F, G, B, I = (np.dtype(t) for t in (np.float64, np.float32, np.bool_, np.int64))
SPECIAL = np.array([0.0, -0.0, 1.0, -1.0, 0.5, -3.0, np.inf, -np.inf, np.nan, 5e-324, -1e-310,
                    1e300, -1e300, 2.0**-1074 * 3, 1e-160, 7.0])
ROWS_OF = SPECIAL.reshape(4, 4)
SINGLE = np.array([0.0, -0.0, 1.0, -3.0, np.inf, -np.inf, np.nan, 1e-45, -1e-40, 3e38, 0.1, 7.0], G)
LABELS = np.array([0, 3, 1, 2])
TURN = ((0, ((1, 1),)), (0, ((0, 1),)))


def splat(b, value, like):
    return b.view(b.const(like.dtype.type(value)), (), like.shape)


def built(write, *args):
    b = ProgramBuilder()
    out = write(b, *[b.input(aval_of(a)) for a in args])
    b.program.outputs = [o.number for o in (out if isinstance(out, (tuple, list)) else [out])]
    return b.program


def names(program):
    """The statements of a Program but for inputs and constants; functions by their own names."""
    return [s.parameters[0] if s.name == "elementwise" else s.name
            for s in map(program.statements.__getitem__, program.live())
            if s.name not in {"input", "const"}
            and not (s.name == "view" and s.parameters[0] == ())]


def same(got, want, ulps=0):
    """Equal to the bit but for NaN's own, or so many units in the last place away."""
    got, want = np.asarray(got), np.asarray(want)
    assert (got.shape, got.dtype) == (want.shape, want.dtype)
    np.testing.assert_array_equal(got if not ulps else np.isnan(got),
                                  want if not ulps else np.isnan(want))
    if want.dtype.kind == "f":
        zero = want == 0
        np.testing.assert_array_equal(np.signbit(got[zero]), np.signbit(want[zero]))
        finite = np.isfinite(want)
        np.testing.assert_array_equal(got[~finite], want[~finite])
        off = np.abs(got[finite] - want[finite])
        assert (off <= ulps * np.spacing(np.abs(want[finite]))).all()


def kept(write, *args, left, ulps=0):
    """The statements that are left of a program, which gives what it gave."""
    program = built(write, *args)
    after = refined(simplified(program))
    with np.errstate(all="ignore"):
        for got, want in zip(after(*args), program(*args), strict=True):
            same(got, want, ulps)
    assert sorted(names(after)) == sorted(left), f"{program.show()}\n->\n{after.show()}"
    return after


# ---- each rule: what is written, on which arguments, what is left

def two(f, *constants):
    """``f`` of the argument and constants."""
    return lambda b, x: b.elementwise(f, x, *[splat(b, c, x) for c in constants])


def turned_round(f, constant):
    return lambda b, x: b.elementwise(f, splat(b, constant, x), x)


def negative(b, x):
    return b.elementwise("negative", x)


def annihilate(b, x, z, of_product=False):
    zero, product = splat(b, 0, x), b.elementwise("multiply", x, z)
    lost = b.elementwise("isnan", product) if of_product else b.elementwise(
        "logical_not", b.elementwise("isfinite", z))
    wins = b.elementwise("logical_and", b.elementwise("equal", x, zero), lost)
    return b.select(wins, zero, product)


def rows(b, x, n=4):
    """Constant along the second axis."""
    return b.view(x, ((0, ((0, 1),)),), (*x.shape, n))


def divided(b, x, by=8.0):
    """What the rule of a quotient writes where the divisor is a number."""
    zero = b.elementwise("equal", x, splat(b, 0, x))
    return b.select(zero, annihilate(b, x, splat(b, 1 / by, x)),
                    b.elementwise("divide", x, b.select(zero, splat(b, 1, x), splat(b, by, x))))


def quotient(b, x, z):
    """What the rule of a quotient writes."""
    zero, one = b.elementwise("equal", x, splat(b, 0, x)), splat(b, 1, x)
    return b.select(zero, annihilate(b, x, b.elementwise("divide", one, z)),
                    b.elementwise("divide", x, b.select(zero, one, z)))


def on_diagonal(b, x, offset=0):
    """``x`` where row == column + offset, else 0."""
    here, there = b.iota(x.shape, 0, I), b.iota(x.shape, 1, I)
    there = b.elementwise("add", there, splat(b, offset, there)) if offset else there
    return b.select(b.elementwise("equal", here, there), x, splat(b, 0, x))


PAIR = [np.repeat(SPECIAL, 16), np.tile(SPECIAL, 16)]
M = np.arange(12.0).reshape(3, 4) - 5
RULES = {
    "fold": (lambda b, x: b.elementwise("add", x, b.elementwise(
        "exp", b.elementwise("add", splat(b, 1, x), splat(b, 2, x)))), [SPECIAL], ["add"]),
    "fold arrays": (lambda b, x: b.elementwise("add", x, b.elementwise(
        "multiply", b.const(np.array([1.0, 2, 3])), b.const(np.array([3.0, 4, 9])))),
        [np.arange(3.0)], ["add"]),
    "fold casts": (lambda b, x: b.elementwise("multiply", x, b.view(
        b.cast(b.const(3), F), (), x.shape)), [SPECIAL], ["multiply"]),
    "behind the view": (lambda b, x: b.elementwise("exp", b.elementwise(
        "multiply", rows(b, x), splat(b, 3, rows(b, x)))), [SPECIAL], ["multiply", "exp", "view"]),
    "into the branches": (lambda b, x: b.elementwise("multiply", b.select(
        b.elementwise("isnan", x), splat(b, 2, x), splat(b, 3, x)), splat(b, 5, x)),
        [SPECIAL], ["isnan", "select"]),
    "x + -0": (two("add", -0.0), [SPECIAL], []),
    "x + 0 stays": (two("add", 0.0), [SPECIAL], ["add"]),
    "x*x + 0": (lambda b, x: b.elementwise("add", splat(b, 0, x), b.elementwise(
        "multiply", x, x)), [SPECIAL], ["multiply"]),
    "i + 0": (two("add", 0), [LABELS], []),
    "x + -z": (lambda b, x, z: b.elementwise("add", negative(b, x), z), PAIR, ["subtract"]),
    "x - 0": (two("subtract", 0.0), [SPECIAL], []),
    "x - -0 stays": (two("subtract", -0.0), [SPECIAL], ["subtract"]),
    "-0 - x": (turned_round("subtract", -0.0), [SPECIAL], ["negative"]),
    "0 - x stays": (turned_round("subtract", 0.0), [SPECIAL], ["subtract"]),
    "x - -z": (lambda b, x, z: b.elementwise("subtract", x, negative(b, z)), PAIR, ["add"]),
    "x * 1": (two("multiply", 1), [SPECIAL], []),
    "-1 * x": (turned_round("multiply", -1), [SPECIAL], ["negative"]),
    "x * 0 stays": (two("multiply", 0.0), [SPECIAL], ["multiply"]),
    "-x * -z": (lambda b, x, z: b.elementwise("multiply", negative(b, x), negative(b, z)), PAIR,
                ["multiply"]),
    "-x * 3": (lambda b, x: two("multiply", 3)(b, negative(b, x)), [SPECIAL], ["multiply"]),
    "x / 1": (two("divide", 1), [SPECIAL], []),
    "x / 8": (two("divide", 8), [SPECIAL], ["multiply"]),
    "x / 3 stays": (two("divide", 3), [SPECIAL], ["divide"]),
    "x / 2^-1074 stays": (two("divide", 5e-324), [SPECIAL], ["divide"]),
    "x / 2^1023 stays": (two("divide", 2.0**1023), [SPECIAL], ["divide"]),
    "x ** 0": (two("power", 0), [SPECIAL], []),
    "x ** 1": (two("power", 1), [SPECIAL], []),
    "x ** 2": (two("power", 2), [SPECIAL], ["multiply"]),
    "i ** 3": (two("power", 3), [LABELS], ["multiply", "multiply"]),
    "x ** 0.5": (two("power", 0.5), [SPECIAL], ["sqrt"]),
    "x ** -1": (two("power", -1), [SPECIAL], ["divide"]),
    "x ** 2.5 stays": (two("power", 2.5), [SPECIAL], ["power"]),
    "--x": (lambda b, x: negative(b, negative(b, x)), [SPECIAL], []),
    "-(x * 3)": (lambda b, x: negative(b, two("multiply", 3)(b, x)), [SPECIAL], ["multiply"]),
    "real": (lambda b, x: b.elementwise("real", b.elementwise("positive", x)), [SPECIAL], []),
    "|-x|": (lambda b, x: b.elementwise("abs", negative(b, x)), [SPECIAL], ["abs"]),
    "isnan(-x)": (lambda b, x: b.elementwise("isnan", negative(b, x)), [SPECIAL], ["isnan"]),
    "max(x, x)": (lambda b, x: b.elementwise("maximum", x, x), [SPECIAL], []),
    "isfinite(2)": (lambda b, x: b.select(b.elementwise("isfinite", b.const(np.array([2.0, 3]))),
                                          x, negative(b, x)), [np.arange(2.0)], []),
    "iota < 0": (lambda b, x: b.select(b.elementwise("less", b.iota((4,), 0, I), splat(
        b, 0, b.iota((4,), 0, I))), x, negative(b, x)), [SPECIAL[:4]], ["negative"]),
    "iota >= 0": (lambda b, x: b.select(b.elementwise("greater_equal", b.iota((4,), 0, I), splat(
        b, 0, b.iota((4,), 0, I))), x, negative(b, x)), [SPECIAL[:4]], []),
    "not not c": (lambda b, x: b.elementwise("logical_not", b.elementwise(
        "logical_not", b.elementwise("isnan", x))), [SPECIAL], ["isnan"]),
    "not x == z": (lambda b, x, z: b.elementwise("logical_not", b.elementwise("equal", x, z)),
                   PAIR, ["not_equal"]),
    "c and True": (lambda b, x: b.elementwise("logical_and", b.elementwise("isnan", x), splat(
        b, True, b.elementwise("isnan", x))), [SPECIAL], ["isnan"]),
    "c or True": (lambda b, x: b.select(b.elementwise("logical_or", b.elementwise("isnan", x),
        splat(b, True, b.elementwise("isnan", x))), x, negative(b, x)), [SPECIAL], []),
    "cast to itself": (lambda b, x: b.cast(x, F), [SPECIAL], []),
    "cast there and back": (lambda b, x: b.cast(b.cast(x, F), G), [SINGLE], []),
    "cast back and there stays": (lambda b, x: b.cast(b.cast(x, G), F), [SPECIAL],
                                  ["cast", "cast"]),
    "cast of cast": (lambda b, i: b.cast(b.cast(i, np.dtype(np.int32)), F),
                     [LABELS.astype(np.int8)], ["cast"]),
    "single": (lambda b, x: b.cast(b.elementwise("divide", b.cast(x, F), splat(
        b, 3, b.cast(x, F))), G), [SINGLE], ["divide"]),
    "single select": (lambda b, x: b.cast(b.select(b.elementwise("isnan", x), splat(
        b, 0.1, b.cast(x, F)), b.elementwise("sqrt", b.cast(x, F))), G), [SINGLE],
        ["isnan", "sqrt", "select"]),
    "0.1 is no single": (lambda b, x: b.cast(two("multiply", 0.1)(b, b.cast(x, F)), G), [SINGLE],
                         ["cast", "multiply", "cast"]),
    "select(True)": (lambda b, x: b.select(splat(b, True, b.elementwise("isnan", x)), x,
                                           negative(b, x)), [SPECIAL], []),
    "select(c, x, x)": (lambda b, x: b.select(b.elementwise("isnan", x), x, x), [SPECIAL], []),
    "select(c, 0, -0) stays": (lambda b, x: b.select(b.elementwise("isnan", x), splat(
        b, 0, x), splat(b, -0.0, x)), [SPECIAL], ["isnan", "select"]),
    "select(not c)": (lambda b, x: b.select(b.elementwise("logical_not", b.elementwise(
        "isnan", x)), x, splat(b, 0, x)), [SPECIAL], ["isnan", "select"]),
    "select(c, True, False)": (lambda b, x: b.select(*[
        b.elementwise("isnan", x), *[splat(b, v, b.elementwise("isnan", x)) for v in (1, 0)]]),
        [SPECIAL], ["isnan"]),
    "decided above": (lambda b, x: b.select(b.elementwise("isnan", x), splat(
        b, 7, x), b.elementwise("exp", b.select(b.elementwise("isnan", x), splat(b, 1, x), x))),
        [SPECIAL], ["isnan", "exp", "select"]),
    "agree where taken": (divided, [SPECIAL], ["multiply"]),
    "agree where taken, by 3": (lambda b, x: divided(b, x, -3.0), [SPECIAL], ["divide"]),
    "annihilate": (annihilate, PAIR, ["multiply", "equal", "isnan", "logical_and", "select"]),
    "annihilate by rows": (lambda b, x, z: annihilate(b, rows(b, x, 256), b.view(
        z, ((0, ((1, 1),)),), (256, 256))), PAIR,
        ["view", "view", "multiply", "equal", "view", "isnan", "logical_and", "select"]),
    "annihilate a number": (lambda b, x: annihilate(b, x, splat(b, 3, x)), [SPECIAL], ["multiply"]),
    "annihilate a number, asked of the product": (
        lambda b, x: annihilate(b, x, splat(b, 3, x), True), [SPECIAL], ["multiply"]),
    "annihilate by rows, asked of the product": (
        lambda b, x: annihilate(b, rows(b, x), b.const(np.ones((16, 4)) * np.arange(4.0)), True),
        [SPECIAL], ["view", "multiply"]),
    "annihilate, asked of the product": (
        lambda b, x, z: annihilate(b, x, z, True), PAIR,
        ["multiply", "equal", "isnan", "logical_and", "select"]),
    "annihilate by a number": (lambda b, x: annihilate(b, splat(b, 3, x), x), [SPECIAL],
                               ["multiply"]),
    "annihilate by 0 stays": (lambda b, x: annihilate(b, splat(b, 0, x), x), [SPECIAL],
                              ["multiply", "isfinite", "select"]),
    "iota seen": (lambda b, x: b.elementwise("multiply", x, b.cast(b.view(
        b.iota((4,), 0, I), ((0, ((1, 1),)),), (4, 4)), F)), [ROWS_OF],
        ["iota", "cast", "multiply"]),
    "slice of pad": (lambda b, x: b.view(b.pad(x, ((2, ((0, 1),)),), (20,), 1.0),
                                         ((3, ((0, 2),)),), (5,)), [SPECIAL], ["view"]),
    "slice outside of pad": (lambda b, x: b.view(b.pad(x, ((2, ((0, 1),)),), (20,), 1.0),
                                                 ((1, ((0, -1),)),), (2,)), [SPECIAL], []),
    "slice across pad stays": (lambda b, x: b.view(b.pad(x, ((2, ((0, 1),)),), (20,), 1.0),
                                                   ((1, ((0, 1),)),), (2,)), [SPECIAL],
                               ["pad", "view"]),
    "split what was merged": (lambda b, x: b.view(b.copy(b.view(x, TURN, (4, 4)), (16,)), (
        (1, ((0, 4),)),), (3,)), [ROWS_OF], ["view"]),
    "split otherwise stays": (lambda b, x: b.view(b.copy(x, (16,)), ((0, ((0, 3),)),), (5,)),
                              [ROWS_OF], ["copy", "view"]),
    "pad that turns": (lambda b, x: b.pad(x, ((3, ((1, -1),)), (0, ((0, 1),))), (4, 4), 0.0),
                       [ROWS_OF], ["view"]),
    "pad of its fill": (lambda b, x: b.elementwise("add", x, b.pad(splat(
        b, 3, b.view(x, ((0, ((0, 1),)),), (2,))), ((1, ((0, 1),)),), (16,), 3.0)), [SPECIAL],
        ["add"]),
    "pad of pad": (lambda b, x: b.pad(b.pad(x, ((1, ((0, 1),)),), (18,), 0.0), (
        (2, ((0, 2),)),), (50,), 0.0), [SPECIAL], ["pad"]),
    "pad of -0 stays": (lambda b, x: b.pad(b.pad(x, ((1, ((0, 1),)),), (18,), -0.0), (
        (2, ((0, 2),)),), (50,), 0.0), [SPECIAL], ["pad", "pad"]),
    "pick at a ramp": (lambda b, x: b.pick(x, [b.const(np.arange(4)), b.elementwise(
        "subtract", splat(b, 3, b.iota((4,), 0, I)), b.iota((4,), 0, I))]), [ROWS_OF], ["view"]),
    "scatter to a ramp": (lambda b, x: b.scatter_add(x, [b.elementwise("add", b.iota(
        (16,), 0, I), splat(b, 3, b.iota((16,), 0, I)))], (20,)), [SPECIAL], ["add", "pad"]),
    "scatter to one place stays": (lambda b, x: b.scatter_add(x, [splat(b, 3, b.iota(
        (4,), 0, I))], (20,)), [np.arange(4.0)], ["scatter_add"]),
    "one of each row": (lambda b, x, y, i: (
        b.pick(x, [b.iota((4,), 0, I), i]),
        b.scatter_add(y, [b.iota((4,), 0, I), i], (4, 4))), [ROWS_OF, SPECIAL[1:5], LABELS],
        ["iota", "pick", "add", "pick", "iota", "cast", "view", "equal", "view", "select"]),
    "one of each row, checked here": (lambda b, y, i: b.scatter_add(
        y, [b.iota((4,), 0, I), i], (4, 4)), [SPECIAL[1:5], LABELS],
        ["add", "iota", "pick", "iota", "cast", "view", "equal", "view", "select"]),
    "sum of one of each row": (lambda b, y, i: b.reduce("add", b.scatter_add(
        y, [b.iota((4,), 0, I), i], (4, 4)), (1,)), [SPECIAL[1:5], LABELS], ["add"]),
    "sum of what may be missing stays": (lambda b, y, i: b.reduce("add", b.select(b.elementwise(
        "equal", b.iota((4, 4), 1, I), rows(b, i)), rows(b, y), splat(b, 0, rows(b, y))), (1,)),
        [SPECIAL[1:5], LABELS + 1], ["iota", "view", "equal", "view", "select", "reduce"]),
    "annihilated quotient": (quotient, PAIR,
        ["equal", "divide", "isfinite", "logical_not", "logical_and", "divide", "select"]),
    "annihilated sum": (lambda b, x, z: [b.reduce("add", y, (1,)) for y in (
        annihilate(b, x, z), negative(b, annihilate(b, z, x)))],
        [p.reshape(-1, 1).repeat(2, 1) for p in PAIR],
        ["multiply", "equal", "select", "reduce", "equal", "select", "negative", "reduce"]),
    "copy of copy": (lambda b, x: b.copy(b.copy(x, (2, 8)), (8, 2)), [ROWS_OF], ["copy"]),
    "copy of what was split": (lambda b, x: b.copy(b.view(
        x, ((0, ((0, 4), (1, 1))),), (4, 4)), (16,)), [SPECIAL], []),
    "copy of what was turned stays": (lambda b, x: b.copy(b.view(
        x, ((0, ((0, 1), (1, 4))),), (4, 4)), (16,)), [SPECIAL], ["view", "copy"]),
    "copy to the same": (lambda b, x: b.copy(x, (4, 4)), [ROWS_OF], []),
    "sum over one": (lambda b, x: b.reduce("add", b.view(x, ((0, ((0, 1),)),), (16, 1)), (1,)),
                     [SPECIAL], ["add"]),
    "max over one": (lambda b, x: b.reduce("maximum", b.view(x, ((0, ((1, 1),)),), (1, 16)), (
        0, 1)), [SPECIAL], ["reduce"]),
    "max of broadcast": (lambda b, x: b.reduce("maximum", rows(b, x), (1,)), [SPECIAL], []),
    "sum of more equal integers than their dtype counts": (
        lambda b, x: b.reduce("add", rows(b, x, 640), (1,)), [np.arange(-4, 5, dtype=np.int8)],
        ["multiply"]),
    "sum of more equal halves than their dtype counts": (
        lambda b, x: b.reduce("add", rows(b, x, 70_000), (1,)), [np.zeros(2, np.float16)],
        ["view", "reduce"]),
    "sum of broadcast": (lambda b, x: b.reduce("add", rows(b, x), (1,)), [SPECIAL],
                         ["add", "multiply"]),
    "max of max": (lambda b, x: b.reduce("maximum", b.reduce("maximum", x, (0,)), (0,)), [ROWS_OF],
                   ["reduce"]),
    "x @ w + h @ u": (lambda b, x, z: b.elementwise("add", b.dot([(x, z)]), b.dot([(
        b.view(z, TURN, (3, 4)), b.view(x, TURN, (4, 3)))])), [M, M.T.copy()],
        ["view", "view", "dot"]),
    "outer": (lambda b, x, z: b.dot([(x, z)]), [SPECIAL.reshape(16, 1), SPECIAL.reshape(1, 16)],
              ["view", "view", "multiply", "add"]),
    "matrix by vector": (lambda b, x, z: b.dot([(x, z)]), [M, np.arange(4.0).reshape(4, 1)],
                         ["view", "multiply", "reduce", "view"]),
    "vector by matrix": (lambda b, x, z: b.dot([(x, z)]), [np.arange(3.0).reshape(1, 3), M],
                         ["view", "multiply", "reduce", "view"]),
    "many vectors by one matrix": (lambda b, x, z: b.dot([(b.view(
        x, ((0, ((1, 1),)), (0, ((2, 1),))), (5, 3, 4)), b.view(
        z, ((0, ((0, 1),)), (0, ((1, 1),))), (5, 4, 1)))]), [M, np.arange(20.0).reshape(5, 4)],
        ["view", "dot", "view"]),
    "many vectors before one matrix": (lambda b, x, z: b.dot([(b.view(
        z, ((0, ((0, 1),)), (0, ((2, 1),))), (5, 1, 3)), b.view(
        x, ((0, ((1, 1),)), (0, ((2, 1),))), (5, 3, 4)))]), [M, np.arange(15.0).reshape(5, 3)],
        ["dot", "view"]),
    "sum of a batch of products": (lambda b, x, z: b.reduce("add", b.dot([(x, z)]), (0,)),
                                   [np.arange(40.0).reshape(5, 4, 2) - 7,
                                    np.arange(30.0).reshape(5, 2, 3)],
                                   ["view", "copy", "view", "copy", "dot"]),
    "sum of outer products": (lambda b, x, z: b.reduce("add", b.elementwise(
        "multiply", b.view(x, ((0, ((0, 1),)), (0, ((1, 1),))), (6, 4, 5)),
        b.view(z, ((0, ((0, 1),)), (0, ((2, 1),))), (6, 4, 5))), (0,)),
        [np.arange(24.0).reshape(6, 4) - 7, np.arange(30.0).reshape(6, 5)], ["view", "dot"]),
    "sum of outer products, turned": (lambda b, x, z: b.reduce("add", b.elementwise(
        "multiply", b.view(x, ((0, ((0, 1),)), (0, ((2, 1),))), (6, 4, 5)),
        b.view(z, ((0, ((0, 1),)), (0, ((1, 1),))), (6, 4, 5))), (0,)),
        [np.arange(30.0).reshape(6, 5) - 7, np.arange(24.0).reshape(6, 4)], ["view", "dot"]),
    "sum of what 0 is added to": (lambda b, x: b.reduce("add", b.elementwise(
        "add", x, splat(b, 0, x)), (1,)), [np.array([[-0.0, -0.0], [1.0, 2.0]])], ["reduce"]),
    "annihilated either way": (lambda b, x, z: b.select(
        b.elementwise("equal", x, splat(b, 0, x)), annihilate(b, x, z), annihilate(b, z, x)), PAIR,
        ["multiply", "equal", "equal", "isnan", "logical_or", "logical_and", "select"]),
    "f on a diagonal": (lambda b, x: b.elementwise("exp", on_diagonal(b, x)), [ROWS_OF],
                        ["iota", "iota", "equal", "exp", "select"]),
    "x and z on a diagonal": (lambda b, x, z: b.elementwise("subtract", on_diagonal(b, x),
                                                            on_diagonal(b, z)),
                              [ROWS_OF, ROWS_OF.T.copy()],
                              ["iota", "iota", "equal", "subtract", "select"]),
    "truth on a diagonal": (lambda b, x: b.elementwise("logical_and", b.elementwise(
        "isnan", on_diagonal(b, x)), b.elementwise("isinf", b.view(x, TURN, (4, 4)))), [ROWS_OF],
        ["iota", "iota", "equal", "isnan", "isinf", "view", "logical_and", "select"]),
    "annihilate on a diagonal": (lambda b, x, z: annihilate(b, on_diagonal(b, x), on_diagonal(
        b, z)), [ROWS_OF, ROWS_OF.T.copy()],
        ["iota", "iota", "equal", "multiply", "equal", "isnan", "logical_and", "select", "select"]),
    "diagonal seen": (lambda b, x: b.view(on_diagonal(b, x), (
        (0, ((2, 1),)), (0, ((0, 1),))), (4, 2, 4)), [ROWS_OF],
        ["iota", "iota", "equal", "view", "select"]),
    "diagonal flipped stays": (lambda b, x: b.view(on_diagonal(b, x), (
        (3, ((0, -1),)), (0, ((1, 1),))), (4, 4)), [ROWS_OF],
        ["iota", "iota", "equal", "select", "view"]),
    "sum along a diagonal": (lambda b, x: [b.reduce("add", on_diagonal(b, x), axes)
                                           for axes in ((0,), (1,), (0, 1))],
                             [np.nan_to_num(ROWS_OF, posinf=1e9, neginf=-9.0)],
                             ["view", "add", "reduce"]),
    "sum along a lower diagonal": (lambda b, x: b.reduce("add", on_diagonal(b, x, 1), (0,)),
                                   [np.arange(12.0).reshape(4, 3) - 5], ["view", "add"]),
    "sum that leaves the diagonal stays": (
        lambda b, x: b.reduce("add", on_diagonal(b, x, 1), (1,)),
        [np.arange(12.0).reshape(4, 3) - 5],
        ["iota", "iota", "add", "equal", "select", "reduce"]),
    "two diagonals": (lambda b, x, z: b.elementwise("maximum", on_diagonal(b, x), negative(
        b, on_diagonal(b, z, 1))), [ROWS_OF, ROWS_OF.T.copy()],
        ["iota", "iota", "equal", "iota", "iota", "add", "equal", "maximum", "negative", "maximum",
         "select", "select"]),
    "a long formula of two diagonals stays one": (lambda b, x, z: b.elementwise(
        "exp", b.elementwise("subtract", on_diagonal(b, x), on_diagonal(b, z, 1))),
        [ROWS_OF, ROWS_OF.T.copy()],
        ["iota", "iota", "equal", "iota", "iota", "add", "equal", "subtract", "select", "select",
         "exp"]),
    "crossing diagonals stay": (lambda b, x: b.elementwise("add", b.select(b.elementwise(
        "equal", b.iota((4, 4, 4), 0, I), b.iota((4, 4, 4), 2, I)), x, splat(b, 0, x)), b.select(
        b.elementwise("equal", b.iota((4, 4, 4), 0, I), b.iota((4, 4, 4), 1, I)), x, splat(
            b, 0, x))), [np.arange(64.0).reshape(4, 4, 4)],
        ["iota", "iota", "iota", "equal", "equal", "select", "select", "add"]),
    "truth off two diagonals": (lambda b, x, z: b.elementwise("logical_or", b.elementwise(
        "equal", b.elementwise("add", on_diagonal(b, x), on_diagonal(b, z, -2)), splat(b, 0, x)),
        b.elementwise("isnan", z)), [ROWS_OF, ROWS_OF.T.copy()],
        ["iota", "iota", "equal", "iota", "iota", "add", "equal", "equal", "equal", "isnan",
         "logical_or", "logical_or", "select", "select"]),
    "sum along two diagonals": (lambda b, x, z: b.reduce("add", b.elementwise(
        "add", on_diagonal(b, x), on_diagonal(b, z, 1)), (0,)),
        [np.arange(12.0).reshape(4, 3) - 5, np.arange(12.0).reshape(4, 3) - 7],
        ["view", "view", "add", "add", "add"]),
    "pad of a diagonal": (lambda b, x: b.pad(on_diagonal(b, x, 1), (
        (2, ((1, 1),)), (0, ((0, 1),))), (8, 4), 0.0), [ROWS_OF],
        ["view", "pad", "view", "iota", "iota", "add", "equal", "select"]),
    "pad of a diagonal with other numbers stays": (lambda b, x: b.pad(on_diagonal(b, x), (
        (2, ((1, 1),)), (0, ((0, 1),))), (8, 4), 1.0), [ROWS_OF],
        ["iota", "iota", "equal", "select", "pad"]),
    "turned back": (lambda b, x, z: b.view(b.elementwise(
        "multiply", b.view(x, TURN, (4, 3)), b.view(z, ((0, ((1, 1),)),), (4, 3))), TURN, (3, 4)),
        [M, np.arange(3.0)], ["view", "multiply"]),
    "turned back through a product": (lambda b, x, z: b.view(b.dot([(b.elementwise(
        "multiply", b.view(x, TURN, (4, 3)), b.view(z, ((0, ((1, 1),)),), (4, 3))), x)]),
        TURN, (4, 4)), [M, np.arange(3.0)], ["view", "view", "multiply", "dot"]),
    "turned product stays": (lambda b, x, z: b.view(b.dot([(x, z)]), TURN, (3, 3)),
                             [M, M.T.copy()], ["dot", "view"]),
    "what others read stays": (lambda b, x, z: [
        y := b.elementwise("multiply", b.view(x, TURN, (4, 3)), b.view(
            z, ((0, ((1, 1),)),), (4, 3))), b.view(y, TURN, (3, 4))],
        [M, np.arange(3.0)], ["view", "view", "multiply", "view"]),
    "0 added to what is summed": (lambda b, x: b.reduce("add", negative(b, b.elementwise(
        "add", x, splat(b, 0, x))), (1,)), [np.array([[-0.0, -0.0], [1.0, 2.0]])],
        ["negative", "reduce"]),
    "0 added to what may be seen stays": (lambda b, x: b.elementwise("divide", b.elementwise(
        "add", x, splat(b, 0, x)), b.elementwise("add", x, splat(b, 0, x))), [SPECIAL],
        ["add", "divide"]),
    "annihilated in a product": (lambda b, x, z: b.dot([(b.elementwise("subtract", x, annihilate(
        b, x, z)), z)]), [np.arange(16.0).reshape(4, 4) - 3, ROWS_OF],
        ["multiply", "equal", "select", "subtract", "dot"]),
    "annihilated in a product, either way": (lambda b, x, z: b.dot([(b.select(
        b.elementwise("equal", x, splat(b, 0, x)), annihilate(b, x, z), annihilate(b, z, x)), x)]),
        [np.arange(16.0).reshape(4, 4) - 3, np.where(np.eye(4) > 0, np.inf, 0.0)],
        ["multiply", "equal", "equal", "logical_or", "select", "dot"]),
    "turned matrix by vector": (lambda b, x, z: b.dot([(b.view(x, TURN, (4, 3)), z)]),
                                [M, np.arange(3.0).reshape(3, 1)],
                                ["view", "multiply", "reduce", "view"]),
    "one number for a matrix by vector": (lambda b, x, z: b.dot([(b.view(x, (), (2, 3)), z)]),
                                          [np.float64(1.5), np.arange(3.0).reshape(3, 1)],
                                          ["view", "multiply", "reduce", "view"]),
    "vector by one number for a matrix": (lambda b, x, z: b.dot([(z, b.view(x, (), (3, 2)))]),
                                          [np.float64(1.5), np.arange(3.0).reshape(1, 3)],
                                          ["view", "multiply", "reduce", "view"]),
}


@pytest.mark.parametrize("name", RULES)
@quiet
def test_rule(name):
    write, args, left = RULES[name]
    kept(write, *args, left=left)


# What may be finite where the program is not: which program, where it is infinite, what is left.
STABILISING = {
    "product on a diagonal": (lambda b, x, z: b.elementwise("multiply", on_diagonal(b, x), z),
                              [ROWS_OF, np.full((4, 4), np.inf)],
                              ["iota", "iota", "equal", "multiply", "select"]),
    "product with unit vectors": (lambda b, x: b.dot([(b.const(np.eye(4)), x)]),
                                  [np.full((4, 3), np.inf)], ["add"]),
    "product with later unit vectors": (lambda b, x: b.dot([(x, b.const(np.eye(5, 4, -1)))]),
                                        [np.full((3, 5), np.inf)], ["view", "add"])}


@pytest.mark.parametrize("name", STABILISING)
@quiet
def test_stabilising_rule(name):
    write, args, left = STABILISING[name]
    program = built(write, *args)
    after = simplified(program)
    assert sorted(names(after)) == sorted(left), after.show()
    numbers = [np.random.default_rng(0).normal(size=a.shape) for a in args]
    np.testing.assert_array_equal(after(*numbers)[0], program(*numbers)[0])
    with np.errstate(all="ignore"):
        before, found = program(*args)[0], after(*args)[0]
        exact = simplified(program, stabilise=False)(*args)[0]
    np.testing.assert_array_equal(exact, before)
    assert np.isnan(before[~np.isnan(found)]).any()
    right = ~np.isnan(before)
    np.testing.assert_array_equal(found[right], before[right])


TAILS = np.array([-1000.0, -745.0, -40.0, 0.0, 3.0, 40.0, 1000.0, np.inf, -np.inf, np.nan])


WAYS = {"value": lambda f, x, d: f(x), "vjp": lambda f, x, d: ad.vjp(f, x)[1](d)[0],
        "jvp": lambda f, x, d: ad.jvp(f, (x,), (d,))[1]}


def of_way(way, f):
    """The value of a function of x, or its derivative in a direction."""
    graph, out = trace(lambda x, d: WAYS[way](f, x, d), aval_of(TAILS), aval_of(TAILS))
    graph.outputs = [out.node]
    return lowered(graph)


def plainly(x):
    return np.log(ad.sigmoid(x))


@pytest.mark.parametrize("way", WAYS)
@quiet
def test_log_of_sigmoid_keeps_its_tails(way):
    d, plain = np.linspace(-1.0, 2.0, TAILS.size), of_way(way, plainly)
    after = simplified(plain)
    assert {s.parameters for n in after.live() if (s := after.statements[n]).name == "elementwise"
            }.isdisjoint({("log",)})
    found, expected = after(TAILS, d)[0], of_way(way, ad.log_sigmoid)(TAILS, d)[0]
    np.testing.assert_allclose(found, expected, rtol=1e-14, atol=1e-16)
    before = plain(TAILS, d)[0]
    np.testing.assert_array_equal(simplified(plain, stabilise=False)(TAILS, d)[0], before)
    assert not np.isfinite(before[0])


def shares(x):
    return np.exp(x) / np.exp(x).sum()


def plain_shares(x):
    return np.log(shares(x))


def plain_some_shares(x):
    return np.tile(np.log(shares(x)[::-2]), 2)


def plain_shares_twice(x):
    p = shares(x)
    return np.tile(np.log(p)[0] + np.log(p[1:])[2] - np.log(p.reshape(2, 5))[1, 1], 10)


@quiet
def test_a_quotient_by_another_sigmoid_stays():
    def write(b, x, z):
        y, other = b.elementwise("sigmoid", x), b.elementwise("sigmoid", z)
        one = b.view(b.const(1.0), (), x.shape)
        slope = b.elementwise("multiply", y, b.elementwise("subtract", one, y))
        return b.elementwise("multiply", b.elementwise("divide", z, other), slope)
    kept(write, TAILS, TAILS[::-1], left=[
        "sigmoid", "sigmoid", "divide", "subtract", "multiply", "multiply"])


@quiet
def test_the_jacobian_of_a_layer_is_no_product_of_matrices():
    A, x = np.random.default_rng(0).normal(size=(6, 6)), np.linspace(-1.0, 1.0, 6)
    graph, out = trace(lambda x, A: ad.jacobian(lambda v: np.tanh(A @ v) * np.sin(v))(x),
                       aval_of(x), aval_of(A))
    graph.outputs = [out.node]
    before = lowered(graph)
    after = simplified(before)
    largest = max(after.statements[n].known.size for n in after.live())
    assert (max(before.statements[n].known.size for n in before.live()), largest) == (216, 36)
    assert "dot" not in names(after)
    np.testing.assert_allclose(after(x, A)[0], before(x, A)[0], rtol=1e-14)


@pytest.mark.parametrize("constant", [
    np.eye(3), 2.5 * np.eye(3, 5), np.eye(4, 2, -1), np.eye(3)[:, None, :] * np.ones((1, 2, 1)),
    np.eye(3, dtype=bool), np.eye(3)[:, ::-1], np.diag([1.0, 2, 3]), np.eye(3) - 0.0,
    np.ones((2, 2)), np.zeros((2, 3)), np.array([[0.0, 1.0], [-0.0, 0.0]]),
    np.tri(3), np.eye(4)[:, :1]])
def test_constants_on_a_diagonal(constant):
    program = built(lambda b, x: b.select(x, b.const(constant), b.const(constant.T.copy().T)),
                    np.ones(constant.shape, bool))
    same(simplified(program)(np.ones(constant.shape, bool))[0], constant)


@quiet
def test_powers_by_products_stay_close():
    for v in (3.0, 4.0, -2.0):
        x = np.concatenate([SPECIAL, np.random.default_rng(0).normal(size=500)])
        left = {3.0: ["multiply"] * 2, 4.0: ["multiply"] * 2, -2.0: ["multiply", "divide"]}[v]
        kept(two("power", v), x, left=left, ulps=2)


def softmax_by_logarithm(b, x, axes=(1,)):
    """The exponential of a log-softmax, as its derivative has it."""
    kept = tuple((0, ((d, 1),)) for d in range(len(x.shape)) if d not in axes)
    shifted = b.elementwise("subtract", x, b.view(b.reduce("maximum", x, axes), kept, x.shape))
    total = b.elementwise("log", b.reduce("add", b.elementwise("exp", shifted), axes))
    return b.elementwise("exp", b.elementwise("subtract", shifted, b.view(total, kept, x.shape)))


@quiet
@pytest.mark.parametrize("shape, axes", [((8, 500), (1,)), ((500, 8), (0,)), ((20, 5, 40), (0, 2))])
@pytest.mark.parametrize("dtype", [F, G])
def test_softmax_is_no_second_exponential(dtype, shape, axes):
    """What replaces the exponential is as near to the truth; special values are the same."""
    x = (np.random.default_rng(0).normal(size=shape) * 40).astype(dtype)
    with np.errstate(all="ignore"):
        few = [np.inf, -np.inf, np.nan, 0.0, -0.0, 3e38]
        rare = np.where(x > 110, np.resize(np.array(few, dtype), shape), x)
    for values in (x, rare, np.zeros(shape, dtype), np.full(shape, -np.inf, dtype)):
        program = built(lambda b, x: softmax_by_logarithm(b, x, axes), values)
        after = simplified(program)
        assert names(after).count("exp") == 1
        with np.errstate(all="ignore"):
            (got,), (want,) = after(values), program(values)
            wide = np.exp((values - values.max(axis=axes, keepdims=True)).astype(np.longdouble))
            truth = wide / wide.sum(axis=axes, keepdims=True)
        np.testing.assert_array_equal(np.isnan(got), np.isnan(want))
        info = np.finfo(dtype)
        np.testing.assert_allclose(got, truth.astype(dtype), rtol=info.eps * (
            4 + np.log2(values.size)), atol=2 * info.smallest_subnormal)


def test_every_rule_has_a_test(monkeypatch):
    fired = set()

    def watched(r):
        def rewrite(e, s):
            n = r.rewrite(e, s)
            if n is not None:
                fired.add(r.says)
            return n
        return r._replace(rewrite=rewrite)
    everything = {r.says for found in editor.RULES.values() for r in found}
    monkeypatch.setattr(editor, "RULES", {
        k: [watched(r) for r in found] for k, found in editor.RULES.items()})
    for write, args, _ in (*RULES.values(), *STABILISING.values()):
        refined(simplified(built(write, *args)))
    simplified(built(softmax_by_logarithm, ROWS_OF))
    for way, f in product(WAYS, (plainly, plain_shares, plain_some_shares, plain_shares_twice)):
        simplified(of_way(way, f))
    assert fired == everything
    assert {line[2:] for line in rules().splitlines()} == everything


@quiet
def test_singles_by_way_of_doubles_exhaustively_near_halves():
    """The rule of one rounding, where two roundings could differ: sums near halves."""
    rng = np.random.default_rng(1)
    bits = rng.integers(0, 2**32, (2, 200_000), dtype=np.uint64).astype(np.uint32)
    x, z = bits.view(np.float32)
    for f in ("add", "subtract", "multiply", "divide"):
        def write(b, x, z, f=f):
            return b.cast(b.elementwise(f, b.cast(x, F), b.cast(z, F)), G)
        kept(write, x, z, left=[f])
    kept(lambda b, x: b.cast(b.elementwise("sqrt", b.cast(x, F)), G), x, left=["sqrt"])


def test_products_that_are_gathered_stay_alike():
    def write(b, *xs):
        total = b.dot([(xs[0], xs[0])])
        for x in xs[1:]:
            total = b.elementwise("add", total, b.dot([(x, x)]))
        return total
    for count, pairs in ((2, [4]), (4, [2, 2, 4]), (6, [2] * 6)):
        after = simplified(built(write, *[np.eye(3) + k for k in range(count)]))
        assert sorted(len(s.inputs) for s in after.statements if s.name == "dot") == pairs


def test_common_statements_across_views():
    def write(b, x):
        seen = b.view(x, TURN, (4, 4))
        return b.elementwise("exp", seen), b.view(b.elementwise("exp", x), TURN, (4, 4))
    after = simplified(built(write, ROWS_OF))
    assert after.outputs[0] == after.outputs[1]
    product = simplified(built(lambda b, x, z: (b.elementwise("multiply", x, z),
                                                b.elementwise("multiply", z, x)), *PAIR))
    assert product.outputs[0] == product.outputs[1]


def test_python_numbers_stay_python_numbers():
    program = built(lambda b, x: (x, b.cast(x, F), b.elementwise("sin", b.cast(x, F))), 3.0)
    after = simplified(program)
    assert [after.statements[n].known for n in after.outputs] == [
        program.statements[n].known for n in program.outputs]
    assert names(after) == ["sin", "cast"]


def test_lines_go_where_the_work_goes():
    def f(x):
        y = x * 2.0
        z = y * 1.0
        return (z / 1.0,)
    with ad.sites():
        graph, out = trace(f, aval_of(SPECIAL))
    graph.outputs = [o.node for o in out]
    after = simplified(lowered(graph))
    (n,) = after.outputs
    first = f.__code__.co_firstlineno
    assert {ad.line_of(site)[1] for site in after.sites[n]} == {first + 1, first + 2, first + 3}


def test_bodies_of_loops_are_simplified():
    graph, out = trace(lambda a: (a * 1.0 + a / 8.0,), aval_of(SPECIAL))
    graph.outputs = [o.node for o in out]
    program = built(lambda b, x: b.item(b.loop(graph, 3, [x], []), 0), SPECIAL)
    after = simplified(program)
    (loop,) = [s for s in after.statements if s.name == "loop"]
    assert names(loop.parameters[0]) == ["multiply", "add"]
    with np.errstate(all="ignore"):
        same(after(SPECIAL)[0], program(SPECIAL)[0])


def test_an_index_that_a_loop_has_left():
    i = np.array([0, 1, 3])
    graph, out = trace(lambda a: (a + a,), aval_of(i))
    graph.outputs = [o.node for o in out]
    program = built(lambda b, x, i: [b.pick(x, [n]) for left in [b.item(b.loop(
        graph, 2, [i], []), 0)] for n in (left, b.elementwise("add", i, left))], SPECIAL, i)
    for got, want in zip(simplified(program)(SPECIAL, i), program(SPECIAL, i), strict=True):
        same(got, want)


# ---- whole rows and programs

def special(x, rng):
    """An argument with special values in random places."""
    if isinstance(x, tuple):
        return tuple(special(part, rng) for part in x)
    if type(x) is float:
        return float(rng.choice(SPECIAL))
    x = np.asarray(x)
    if x.dtype.kind != "f" or not x.size:
        return x
    out = x.copy().reshape(-1)
    hit = rng.random(out.size) < 0.5
    with np.errstate(all="ignore"):
        out[hit] = rng.choice(SPECIAL, out.size).astype(x.dtype)[hit]
    return out.reshape(x.shape)


def close(got, want):
    """Equal special values, and numbers within the bounds of sums."""
    for g, w in zip(*[p if isinstance(p, tuple) else (p,) for p in (got, want)], strict=True):
        g, w = np.asarray(g), np.asarray(w)
        assert (g.shape, g.dtype) == (w.shape, w.dtype)
        tight = 1e-5 if w.dtype.itemsize < 8 else 1e-12
        np.testing.assert_allclose(g, w, rtol=tight, atol=1e-300)


@pytest.mark.parametrize("row", ROWS, ids=str)
@quiet
def test_every_row(row):
    rng = np.random.default_rng(7)
    ran = 0
    for case in row.cases(np.random.default_rng(0)):
        b = ProgramBuilder()
        out = row.lower(b, *[b.input(aval_of(a)) for a in case.args], **case.params)
        b.program.outputs = [out.number]
        after = refined(simplified(b.program))
        assert len(names(after)) - names(after).count("view") <= len(names(b.program)) + 4
        called = any(s.name == "call" for s in b.program.statements)
        with np.errstate(all="ignore"):
            for args in [case.args] + ([] if called else [[special(a, rng) for a in case.args]]):
                if [aval_of(a) for a in args] == [aval_of(a) for a in case.args]:
                    close(after(*args)[0], b.program(*args)[0])
                    ran += 1
    assert ran


@pytest.mark.parametrize("first", range(0, 24, 6))
@quiet
def test_random_programs_and_their_gradients(first):
    ran = 0
    for seed in range(first, first + 6):
        if (made := drawn([seed, 9])) is None:
            continue
        before, args = made
        after = refined(simplified(before))
        with np.errstate(all="ignore"):
            expected, found = outcomes(before, args), outcomes(after, args)
        assert len(after.live()) <= len(before.live())
        for want, got in zip(expected, found, strict=True):
            want = np.asarray(want)
            assert got.dtype == want.dtype
            tight = 1e-2 if want.dtype.itemsize < 8 else 1e-7
            np.testing.assert_allclose(got, want, rtol=tight, atol=1e-8)
        ran += 1
    assert ran > 3


def test_no_special_value_changes_where_nothing_may_stabilise():
    def write(b, x, z):
        return b.select(b.elementwise("isnan", x), z, annihilate(b, x, z))
    program = built(write, *PAIR)
    after = simplified(program, stabilise=False)
    with np.errstate(all="ignore"):
        same(after(*PAIR)[0], program(*PAIR)[0])
