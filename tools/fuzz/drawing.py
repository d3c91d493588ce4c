"""How a program is drawn: operations at random, arguments from their own cases."""

import warnings
from collections import Counter
from dataclasses import dataclass, field
from itertools import islice

import numpy as np

from .programs import OURS, WRAPPERS, Feed, Given, Group, Pick, Program, Step, advance, operations

LONGEST = 40
LARGEST = 200  # elements of a value
RADII = (0.5, 0.1, 0.02, 0.004)
SHAPES = ((), (), (1,), (3,), (4,), (2, 3), (3, 1), (1, 4), (2, 1, 3), (2, 2), (1, 1), (0,), (0, 3))
LAYOUTS = ("C", "C", "fortran", "reversed", "strided", "zero stride", "transposed")
FLAVOURS = {"double": 0.84, "single": 0.08, "complex": 0.08}


@dataclass
class Drawn:
    """A program, and what was refused on the way: {(operation, reason): how often}."""

    program: Program
    refused: Counter = field(default_factory=Counter)
    shapes: Counter = field(default_factory=Counter)


class Refused(Exception):  # noqa: N818 - a case that does not fit is no error
    """A case that does not fit: the reason."""


def draw(seed, names=None, library=OURS, accept=None, flavour=None):
    """The program of a seed, over the operations ``names`` (all, if None).

    A seed gives the same program as long as these operations have the same cases. ``accept(step,
    values)`` may raise Refused.
    """
    rng = np.random.default_rng(seed)
    chosen = list(operations()) if names is None else list(names)
    drawn_flavour = rng.choice(list(FLAVOURS), p=list(FLAVOURS.values()))
    maker = Maker(rng, flavour or str(drawn_flavour), library, accept)
    length = int(np.exp(rng.uniform(np.log(2), np.log(LONGEST + 1))))
    number = 0
    for _ in range(5 * length + 20):
        if number == length:
            break
        name = chosen[int(rng.integers(len(chosen)))]
        try:
            maker.add(number, operations()[name])
        except Refused as e:
            maker.refused[name, str(e)] += 1
            continue
        number += 1
    blocks = []
    if rng.random() < 0.15 and number > 1:
        first = int(rng.integers(number))
        last = int(min(number - 1, first + rng.integers(6)))
        blocks.append((list(WRAPPERS)[int(rng.integers(len(WRAPPERS)))], first, last))
    program = Program(seed, names, maker.leaves, tuple(maker.steps), maker.flavour, None,
                      tuple(blocks))
    shapes = Counter(tag for x in maker.leaves.values() for tag in layout_tags(x))
    return Drawn(program, maker.refused, shapes)


def layout_tags(x):
    """What a leaf is like."""
    x = np.asarray(x)
    facts = {"0-d": x.ndim == 0, "size 1": x.ndim > 0 and x.size == 1, "empty": x.size == 0,
             "zero stride": x.size > 1 and any(
                 s == 0 for s, n in zip(x.strides, x.shape, strict=True) if n > 1),
             "fortran": x.ndim > 1 and x.flags.f_contiguous and not x.flags.c_contiguous,
             "negative stride": any(s < 0 for s in x.strides),
             "not contiguous": not x.flags.c_contiguous and not x.flags.f_contiguous}
    return [tag for tag, holds in facts.items() if holds]


def new_leaf(rng, shape=None):
    """An array of some shape and memory layout."""
    shape = SHAPES[int(rng.integers(len(SHAPES)))] if shape is None else shape
    x = np.asarray(rng.uniform(-1.5, 1.5, shape))
    layout = LAYOUTS[int(rng.integers(len(LAYOUTS)))]
    if not shape:
        return x[()] if rng.random() < 0.5 else x
    if layout == "fortran":
        return np.asfortranarray(x)
    if layout == "reversed":
        return np.flip(np.flip(x).copy())
    if layout == "strided":
        return np.repeat(x, 2, axis=-1)[..., ::2]
    if layout == "zero stride":
        return np.broadcast_to(x[:1] if shape[0] else x, shape)
    return np.ascontiguousarray(x.T).T if layout == "transposed" else x


class Maker:
    """A program in the making: its values so far."""

    def __init__(self, rng, flavour, library, accept):
        self.rng, self.flavour, self.library, self.accept = rng, flavour, library, accept
        self.leaves, self.steps, self.refused = {}, [], Counter()
        count = 1 + int(rng.integers(4))
        for n in range(count):
            self.leaves["x", n] = new_leaf(rng)
        if not any(np.size(x) for x in self.leaves.values()):
            self.leaves["x", count] = new_leaf(rng, (3,))
        self.values = dict(self.leaves)

    # ---- one step

    def add(self, number, operation):
        """Append a step, or raise Refused."""
        rng = self.rng
        which = int(rng.integers(operation.count()))
        seed = int(rng.integers(2 ** 32))
        case = next(islice(operation.cases(np.random.default_rng(seed)), which, None), None)
        if case is None or case.domain != "regular":
            raise Refused("kink or singular case")
        if self.flavour != "single" and any(
                isinstance(v, np.dtype) and v.kind in "fc" and v != np.float64
                for v in case.params.values()):
            raise Refused("a cast to fewer digits")
        state = rng.bit_generator.state
        for complex_too in ((True, False) if self.flavour == "complex" else (False,)):
            for size in RADII:
                rng.bit_generator.state = state
                arguments = self.arguments(operation, case.args, size, complex_too)
                step = Step(number, operation.name, arguments, dict(case.params))
                why = self.attempt(step)
                if why is None:
                    self.steps.append(step)
                    return
        raise Refused(why)

    def attempt(self, step):
        """Enter the step, or say why it cannot be: it must be finite in its whole box."""
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("error", np.exceptions.ComplexWarning)
            try:
                for signs in (None, 1.0, -1.0, "random", "random"):
                    trial = Corners(self.values, signs, self.rng)
                    parts = advance(step, trial, trial if signs is not None else OURS)
                    if not all(fine(y) for y in parts):
                        return "not finite around the case"
                    if signs is None:
                        found = parts
            except (TypeError, ValueError, ArithmeticError, np.linalg.LinAlgError,
                    np.exceptions.ComplexWarning) as e:
                return type(e).__name__
        if any(np.size(y) > LARGEST for y in found):
            return "too large"
        if self.flavour != "single" and any(
                y.dtype.kind in "fc" and y.dtype.itemsize < 8 for y in map(np.asarray, found)):
            return "fewer digits"
        if self.accept is not None:
            try:
                self.accept(step, self.values)
            except Refused as e:
                return str(e)
        for k, y in enumerate(found):
            self.values["y", step.number, k] = np.asarray(y)[()]
        return None

    # ---- arguments

    def arguments(self, operation, args, size, complex_too):
        """The arguments of a case, made of earlier values; at least one of the movable ones."""
        flat = [a for arg in args for a in (arg if isinstance(arg, tuple) else (arg,))]
        movable = [k for k, a in enumerate(flat) if feedable(a)]
        held = {k for k in movable if self.rng.random() < 0.2}
        if movable and held == set(movable):
            held.discard(movable[int(self.rng.integers(len(movable)))])
        self.last = None
        # A matrix with equal rows is singular: not for linear algebra.
        self.repeats = operation.row is not None and operation.row.elementwise
        made = [self.argument(a, k in held, size, complex_too) for k, a in enumerate(flat)]
        fresh = iter(made)
        return tuple(Group(tuple(next(fresh) for _ in arg)) if isinstance(arg, tuple)
                     else next(fresh) for arg in args)

    def argument(self, a, held, size, complex_too):
        """One argument."""
        if not feedable(a):
            return self.discrete(a) if isinstance(a, (np.ndarray, np.generic)) else Given(a)
        weak = isinstance(a, float) and not isinstance(a, np.float64)
        if weak and self.rng.random() < 0.5:
            return Given(a)
        a = np.asarray(a)
        if self.flavour != "single" and a.dtype.itemsize < 8:
            a = a.astype(float)
        if complex_too and a.dtype.kind == "f" and self.rng.random() < 0.6:
            a = a * (1 + 1j * self.rng.uniform(-0.7, 0.7, a.shape))
        return Given(a[()]) if held else self.fed(a, size)

    def fed(self, a, size):
        """A floating point argument from an earlier value, in a box around ``a``."""
        rng = self.rng
        key = self.source("fc")
        value = np.asarray(self.values[key])
        moves = []
        if value.dtype.kind == "c" and a.dtype.kind == "f":
            moves.append(("real", None))
        layout, centre = self.layout(a)
        moves += self.moves(value.shape, centre.shape)
        if value.dtype.kind != "c" and value.dtype != a.dtype and a.dtype.kind == "f":
            moves.append(("cast", a.dtype.name))
        extent = np.where(np.isfinite(centre), np.abs(centre), 0.0)  # NaN stays where it is
        largest = float(np.max(extent, initial=0.0)) or 1.0
        radius = (size * np.isfinite(centre) * (extent + 0.05 * largest)
                  * rng.uniform(0.5, 1.0, centre.shape)).astype(np.abs(centre).dtype)
        scale = 1.0 / max(1.0, float(np.max(np.abs(value), initial=0.0)) / 2)
        return Feed(key, tuple(moves), ("sin", "tanh")[int(rng.integers(2))], scale,
                    float(rng.uniform(-0.7, 0.7)), centre[()], radius[()], tuple(layout))

    def source(self, kinds):
        """An earlier value of these kinds; the later the likelier, now and then the last again."""
        keys = [k for k, v in self.values.items() if np.asarray(v).dtype.kind in kinds]
        if not keys:
            return None
        if self.last in keys and self.rng.random() < 0.25:
            return self.last
        back = min(int(self.rng.geometric(0.3)) - 1, len(keys) - 1)
        if self.rng.random() < 0.3:
            back = int(self.rng.integers(len(keys)))
        self.last = keys[-1 - back]
        return self.last

    def layout(self, a):
        """Moves after the curve that give ``a`` its memory layout, and the centre before them."""
        r = self.rng.random()
        if a.ndim > 1 and (r < 0.1 or (r < 0.7 and a.flags.f_contiguous
                                       and not a.flags.c_contiguous)):
            axes = tuple(int(k) for k in self.rng.permutation(a.ndim))
            return [("transpose", axes)], np.transpose(a, np.argsort(axes)).copy()
        if a.ndim and (r < 0.1 or (r < 0.7 and any(s < 0 for s in a.strides))):
            return [("getitem", (slice(None, None, -1),))], a[::-1].copy()
        if a.ndim and a.shape[0] > 1 and 0.7 < r < 0.8 and (self.repeats or a.ndim == 1):
            return [("broadcast_to", a.shape)], a[:1].copy()
        return [], np.array(a)

    def moves(self, old, new):
        """From one shape to another: by broadcasting, sums, reshape, or a gather."""
        if old == new:
            return []
        before, after = int(np.prod(old)), int(np.prod(new))
        found = [[("take", np.arange(after).reshape(new) % before)]] if before else []
        if before == after:
            found.append([("reshape", new)])
        if broadcasts(old, new):
            found += [[("broadcast_to", new)]] * 2
        if broadcasts(new, old):
            found.append([("sum_to", new)])
        found = found or [[("sum_to", ()), ("broadcast_to", new)]]
        return found[int(self.rng.integers(len(found)))]

    def discrete(self, a):
        """An integer or boolean argument: sometimes picked by an earlier value."""
        array = np.asarray(a)
        key = self.source("b" if array.dtype.kind == "b" else "iu")
        if key is None or not array.size or self.rng.random() < 0.4:
            return Given(a)
        moves = self.moves(np.shape(self.values[key]), array.shape)
        return Pick(key, tuple(moves), np.unique(array))


class Corners:
    """A library that puts arguments at corners of their boxes; without signs, where they are."""

    def __init__(self, values, signs, rng):
        self.own, self.signs, self.rng = {}, signs, rng
        self.earlier = values

    def __getitem__(self, key):
        return self.own[key] if key in self.own else self.earlier[key]

    def __setitem__(self, key, value):
        self.own[key] = value

    def __getattr__(self, name):
        return getattr(OURS, name)

    def bend(self, x, feed):
        sign = self.signs
        if sign == "random":
            sign = self.rng.uniform(-1, 1, np.shape(feed.radius))
        return np.asarray(feed.centre + feed.radius * sign, np.asarray(feed.centre).dtype)[()]


def feedable(a):
    """Whether an argument can depend on earlier values smoothly."""
    return (isinstance(a, (np.ndarray, np.generic, float))
            and np.asarray(a).dtype.kind in "fc")


def broadcasts(old, new):
    """Whether an array of the shape ``old`` broadcasts to ``new``."""
    try:
        return np.broadcast_shapes(old, new) == new
    except ValueError:
        return False


def fine(y):
    """Whether a value is finite and not huge."""
    y = np.asarray(y)
    return y.dtype.kind not in "fc" or bool(np.all(np.abs(y) < 1e6))
