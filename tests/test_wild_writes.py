"""Random functions made of writes, against NumPy: aliases, operators in place, keys, out=, bodies.

Each program is run by NumPy line by line while it is made, so that NumPy accepts all of it. Its
value is NumPy's, its slope that of NumPy's values; every transformation has both, or says in an
error of the library what it cannot do. Control flow and nested derivatives are Python's loops and
differences there (`Plain`). Left out is the one documented difference: a change in place of a view,
or of an array of which there is a view.
"""

import linecache
import zlib

import numpy as np
import pytest

import adjoint as ad
from adjoint.errors import AdjointError

pytestmark = pytest.mark.filterwarnings("ignore")
STEP, LARGEST = 1e-3, 30.0


# ---- NumPy's side

def held(v):
    """Values that a body may change: arrays are copied."""
    if isinstance(v, tuple):
        return tuple(map(held, v))
    return np.array(v) if isinstance(v, np.ndarray) else v


def given(v):
    """Results: of no axes they are scalars."""
    if isinstance(v, tuple):
        return tuple(map(given, v))
    return v[()].copy() if isinstance(v, np.ndarray) else v


def as_before(v, before):
    """A carry keeps the kinds that it began with."""
    if isinstance(before, tuple):
        return tuple(map(as_before, v, before))
    return np.array(v) if isinstance(before, np.ndarray) else np.asarray(v)[()]


def element(x, k):
    return held(x[k])


def stacked(rows):
    if isinstance(rows[0], tuple):
        return tuple(stacked(column) for column in zip(*rows, strict=True))
    return np.stack(rows)


def slope(f, x, d, h=STEP):
    """Four values around x, with an error of h^4."""
    near, far = f(x + h * d) - f(x - h * d), f(x + 2 * h * d) - f(x - 2 * h * d)
    return (8.0 * near - far) / (12.0 * h)


def array_like(x):
    return np.array if isinstance(x, np.ndarray) else np.float64


class Plain:
    """What stands for ``ad`` in a program that NumPy runs."""

    @staticmethod
    def cond(chosen, yes, no, *operands):
        return given((yes if chosen else no)(*map(held, operands)))

    @staticmethod
    def scan(f, carry, xs):
        rows = []
        for k in range(len(xs)):
            before = carry = held(carry)
            carry, y = f(held(carry), element(xs, k))
            carry = as_before(carry, before)
            rows.append(given(y))
        return given(carry), stacked(rows)

    @staticmethod
    def fori_loop(first, end, f, carry):
        for k in range(first, end):
            carry = as_before(f(np.int64(k), held(carry)), carry)
        return given(held(carry))

    @staticmethod
    def map(f, xs):
        return stacked([given(f(element(xs, k))) for k in range(len(xs))])

    @staticmethod
    def vmap(f):
        return lambda xs: Plain.map(f, xs)

    @staticmethod
    def checkpoint(f):
        return f

    @staticmethod
    def jit(f):
        return f

    @staticmethod
    def grad(f):
        def gradient(x):
            kind, units = array_like(x), np.eye(np.size(x)).reshape(-1, *np.shape(x))
            rows = [slope(lambda v: f(kind(v)), np.asarray(x), e) for e in units]
            return kind(np.reshape(rows, np.shape(x)))
        return gradient


# ---- programs

class Holder:
    def __init__(self, v):
        self.v = v


def built(lines, space, tail="return locals()"):
    """The program as a function, with ``space`` as its ``ad``."""
    text = "def f(x):\n" + "".join(f"    {line}\n" for block in [*lines, tail]
                                   for line in block.split("\n"))
    name = f"<wild {zlib.crc32(text.encode())}>"
    names = {"np": np, "ad": space, "Holder": Holder}
    exec(compile(text, name, "exec"), names)
    linecache.cache[name] = len(text), None, text.splitlines(keepends=True), name
    return names["f"], text


def is_number(v):
    return isinstance(v, (float, np.floating, np.ndarray)) and np.asarray(
        v).dtype.kind == "f" and np.size(v) > 0 and np.ndim(v) <= 2


def paths(values):
    """Every number that the program can name, as it would write it."""
    found = []

    def walk(path, v):
        if is_number(v):
            found.append((path, v))
        elif isinstance(v, (list, tuple)):
            for k, w in enumerate(v):
                walk(f"{path}[{k}]", w)
        elif isinstance(v, dict):
            for k, w in v.items():
                walk(f"{path}[{k!r}]", w)
        elif isinstance(v, Holder):
            walk(f"{path}.v", v.v)
    for name, v in values.items():
        walk(name, v)
    return found


def is_alone(v, every):
    """Whether no other array shares its memory: then a change in place is NumPy's everywhere."""
    return not isinstance(v, np.ndarray) or all(
        w is v or not isinstance(w, np.ndarray) or not np.shares_memory(v, w) for _, w in every)


OF_ALL = """{p} * {q}; {p} + 0.3 * {q}; np.sin({p}); {p} * 0.7; 1.5 - {p}; np.tanh({p}); {p} / 1.7
    np.where({p} > 0.1, {p}, 0.5 * {q}); np.add({p}, {q}); {p} - {q}; 0.3 * {p} ** 2; -{p}
    np.clip({p}, None, None); np.real({p}); np.select([{p} > 0.0], [{p}], 0.1); +{p}; np.sum({p})
    np.mean({p}); np.reshape({p}, -1); np.stack([{p}, {p}]); np.squeeze({p}); np.maximum({p}, {q})
    np.add.reduce(np.stack([{p}, {p}])); np.where(True, {p}, {q}); np.sqrt(1.0 + {p} ** 2)"""
OF_ARRAYS = """{p}.copy(); {p}.astype(float); {p}.astype(float, copy=False); {p}.conj(); {p}.real
    {p}.sum(); {p}[...]; {p}.T; {p}.ravel(); {p}.flatten(); {p}.squeeze(); {p}[()]; np.max({p})
    np.dot({p}, {q}); {p}.reshape({p}.shape); np.tensordot({p}, {p}, {p}.ndim); {p}[None]"""
OF_VECTORS = """{p}[0]; {p}[-1]; {p}[1:]; {p}[::-1]; {p}[[0, 0]]; {p}[{p} > -9.0]; np.cumsum({p})
    {p} @ {p}; np.sort({p}); np.outer({p}, {q})[0]; np.concatenate([{p}, {p}]); {p}[0, ...]
    np.einsum('i,i->', {p}, {p}); np.einsum('i->i', {p}); np.take({p}, 1); next(iter({p}))"""
KEYS = (("...", "()"),
        ("0", "-1", "1:", "::2", "::-1", "...", "[0, 1]", "np.array([1, 0])", "[0, 0]", "{p} > 0.2",
         "np.array(1)", "(0,)", "None", "np.argmax({p})", "(..., 0)", "(None, 0)"),
        ("0", "(0, 1)", "(slice(None), 0)", "1:", "(..., 1)", "([0, 1], [1, 0])", "{p} > 0.2",
         "np.diag_indices(2)", "([0, 0], [1, 1])", "(None, 0)"))
OPERATORS = ("+=", "-=", "*=", "/=", "+=", "*=", "**=", "//=", "%=", "@=")
BODY = """c += {0}; c *= {0}; c -= np.sin(c); z = c|z *= 0.9; z = [c]|z[0] *= 0.9; c = c * 0.8
    np.tanh(c, out=c); c[...] = np.sin(c); c[0] = 0.4; c[:1] += 0.3; z = c.copy()|z += c|c = z"""
FORMS = {
    "call": "{g}({p})", "checkpoint": "ad.checkpoint({g})({p})", "jit": "ad.jit({g})({p})",
    "grad": "ad.grad(lambda c: np.sum({g}(c) * c))({p})", "fori": "ad.fori_loop(0, 2, {g}2, {p})",
    "cond": "ad.cond(np.sum({p}) > -99.0, {g}, lambda c: c * 1.0, {p})",
    "scan": "ad.scan(lambda c, e: ({g}(c), c * e), {p}, {q})", "map": "ad.map({g}, {q})",
    "vmap": "ad.vmap({g})({q})"}
SHAPES = {"float": (), "scalar": (), "array": (), "vector": (3,), "matrix": (2, 2)}


def split(text):
    return [part.strip() for line in text.split("\n") for part in line.split(";")]


class Program:
    """A program that grows line by line; ``values`` are those of its variables in NumPy."""

    def __init__(self, seed, kind, steps):
        self.random, self.kind, self.lines, self.count = np.random.default_rng(seed), kind, [], 0
        shape = SHAPES[kind]
        self.x = self.random.uniform(0.2, 1.2, shape) * self.random.choice([-1.0, 1.0, 1.0], shape)
        self.direction = self.random.uniform(0.5, 1.5, shape)
        self.values = {"x": self.argument(self.x)}
        moves = [self.new, self.new, self.alias, self.change, self.change, self.change, self.item,
                 self.item, self.out, self.container, self.body, self.body, self.again, self.loop,
                 self.known, self.method, self.outside]
        for _ in range(8 * steps):
            if len(self.lines) < steps:
                self.tried(self.pick(moves)())
        weights = self.random.uniform(0.2, 1.0, len(paths(self.values))).round(2)
        self.tail = "return np.sum(x)" + "".join(
            f" + {w} * np.sum({self.pick(['{0}', 'np.sin({0})']).format(path)})"
            for w, (path, _) in zip(weights, paths(self.values), strict=True))

    def argument(self, v):
        v = np.array(v)
        return float(v) if self.kind == "float" else v if v.ndim or self.kind == "array" else v[()]

    def pick(self, choices):
        return choices[self.random.integers(len(choices))]

    def name(self):
        self.count += 1
        return f"v{self.count}"

    def tried(self, line):
        """Take a line if NumPy runs it and the numbers stay small."""
        if line is None:
            return
        try:
            with np.errstate(all="ignore"):
                values = built([*self.lines, line], Plain)[0](self.argument(self.x))
        except Exception:  # noqa: BLE001 - trying is how lines are found
            return
        if any(isinstance(v, complex) for v in values.values()):
            return  # Python's own power of a negative number
        if all(np.all(np.abs(v) < LARGEST) for _, v in paths(values)):
            self.lines.append(line)
            self.values = values

    def path(self, fits=lambda v: True, alone=False):
        every = paths(self.values)
        found = [p for p in every if fits(p[1]) and (not alone or is_alone(p[1], every))]
        return self.pick(found) if found else (None, None)

    def expression(self):
        p, v = self.path()
        q = self.path(lambda w: np.shape(w) in (np.shape(v), ()))[0]
        choices = [OF_ALL, *[OF_ARRAYS] * isinstance(v, np.ndarray), *[OF_VECTORS] * (
            np.ndim(v) == 1)]
        return self.pick(split(self.pick(choices))).format(p=p, q=q)

    def operand(self):
        return self.pick(["0.5", "2.0", "2", "np.float64(0.9)", "np.array(0.8)", self.path()[0],
                          *[self.expression() for _ in range(4)]])

    # ---- lines

    def new(self):
        return f"{self.name()} = {self.expression()}"

    def alias(self):
        return f"{self.name()} = {self.path()[0]}"

    def change(self):
        return f"{self.path(alone=True)[0]} {self.pick(OPERATORS)} {self.operand()}"

    def item(self):
        p, v = self.path(lambda v: isinstance(v, np.ndarray), alone=True)
        return p and (f"{p}[{self.pick(KEYS[v.ndim]).format(p=p)}] "
                      f"{self.pick(['=', '=', '+=', '-=', '*='])} {self.operand()}")

    def out(self):
        p, _ = self.path(lambda v: isinstance(v, np.ndarray), alone=True)
        a, b = self.expression(), self.path()[0]
        return p and self.pick(["", f"{self.name()} = "]) + self.pick([
            f"np.sin({a}, out={p})", f"np.multiply({a}, {b}, out={p})", f"np.add({a}, {b}, {p})",
            f"np.subtract({p}, {b}, out=({p},))",
            f"np.mean(np.stack([{a}, {a}]), axis=0, out={p})"])

    def container(self):
        a, b = self.path()[0], self.expression()
        return f"{self.name()} = " + self.pick([
            f"[{a}, {b}]", f"{{'a': {a}, 'b': {b}}}", f"Holder({a})", f"({a}, {b})", f"[{a}, {a}]"])

    def body(self):
        """A function that changes its argument, in one of the forms."""
        g, p = self.name(), self.path(alone=True)[0]
        q = self.path(lambda v: np.ndim(v) > 0)[0]
        form = FORMS[self.pick(list(FORMS))]
        if q is None and "{q}" in form:
            return None
        lines = [line for _ in range(self.random.integers(1, 4)) for line in self.pick(
            split(BODY)).format(self.pick(["0.6", "c", "c * 0.5", self.path()[0]])).split("|")]
        text = "\n    ".join([f"def {g}(c):", *lines, self.pick(["return c", "return c * 0.9"])])
        also = f"\ndef {g}2(k, c):\n    return {g}(c)" if "{g}2" in form else ""
        return f"{text}{also}\n{self.name()} = {form.format(g=g, p=p, q=q)}"

    def again(self):
        """A function that changes a variable of the one around it."""
        names = [n for n, v in self.values.items() if n != "x" and is_number(v) and is_alone(
            v, paths(self.values))]
        if not names:
            return None
        g, n = self.name(), self.pick(names)
        return (f"def {g}():\n    nonlocal {n}\n    {n} {self.pick(OPERATORS[:6])} "
                f"{self.operand()}\n{g}()")

    def loop(self):
        p, v = self.path(alone=True)
        at = f"{p}[k]" if np.ndim(v) == 1 and self.pick([True, False]) else p
        return f"for k in range(2):\n    {at} {self.pick(OPERATORS[:6])} {self.operand()}"

    def known(self):
        return f"{self.name()} = " + self.pick([
            "np.array([0.5, -0.4, 0.8])", "np.full((2, 2), 0.7)", "np.array(0.6)",
            "np.ones_like(x)"])

    def method(self):
        p, _ = self.path(lambda v: np.ndim(v) == 1, alone=True)
        return p and self.pick([f"{p}.sort()", f"{p}.fill(0.5)", f"{p}[:] = {p}[::-1]",
                                f"{p}[0], {p}[1] = {p}[1], {p}[0]", f"{p}[1:] += {p}[:-1]"])

    def outside(self):
        """A write into a value that a function closes over."""
        p, g = self.path(lambda v: isinstance(v, np.ndarray), alone=True)[0], self.name()
        q = self.path()[0]
        return p and (f"def {g}(c):\n    {p}[...] {self.pick(['=', '*='])} {self.operand()}\n"
                      f"    return c * {q}\n{self.name()} = {g}({self.path()[0]})")


# ---- what runs them

def watched(run):
    def call(f, x, d):
        with ad.doctor():
            return run(f, x, d)
    return call


def backward(f, x, d):
    value, gradient = ad.value_and_grad(f)(x)
    return value, np.sum(np.asarray(gradient) * d)


def forward(f, x, d):
    return ad.jvp(f, (x,), (type(x)(d) if isinstance(x, (float, np.floating)) else np.array(d),))


def pulled(f, x, d):
    value, pullback = ad.vjp(f, x)
    return value, np.sum(np.asarray(pullback(1.0)[0]) * d)


def pushed(f, x, d):
    value, push = ad.linearize(f, x)
    return value, push(type(x)(d) if isinstance(x, (float, np.floating)) else np.array(d))


def compiled(f, x, d):
    value, gradient = ad.jit(ad.value_and_grad(f))(x)
    return value, np.sum(np.asarray(gradient) * d)


def batched(f, x, d):
    """Elements of a batch are arrays or scalars: for floats and arrays without axes, others."""
    if isinstance(x, float) or not x.shape:
        return backward(f, x, d)
    values, gradients = ad.vmap(ad.value_and_grad(f))(np.stack([x, x]))
    return values[1], np.sum(gradients[1] * d)


RUNS = {
    "backward": backward, "forward": forward, "pulled": pulled, "pushed": pushed,
    "batched": batched, "checkpoint": lambda f, x, d: backward(ad.checkpoint(f), x, d),
    "watched": watched(backward), "watched forward": watched(forward),
    "compiled": lambda f, x, d: (ad.jit(f)(x), None),
    "compiled gradient": compiled,
    "gradient of compiled": lambda f, x, d: backward(ad.jit(f), x, d),
    "branch": lambda f, x, d: backward(
        lambda v: ad.cond(True, f, lambda c: np.sum(c) * 1.0, v), x, d)}


def checked(seed, kind, steps, names):
    """What each run makes of a program: "right", "refused", or a text that says what is wrong."""
    program = Program(seed, kind, steps)
    plain, text = built(program.lines, Plain, program.tail)
    f, _ = built(program.lines, ad, program.tail)

    def value(v):
        return float(plain(program.argument(v)))
    x, d = program.x, program.direction
    found = {}
    with np.errstate(all="ignore"):
        expected, steep, fine = value(x), slope(value, x, d), slope(value, x, d, STEP / 2)
        smooth = abs(steep - fine) < 1e-6 * (1.0 + abs(steep))
        loose = "ad.grad" in text  # differences of differences
        for name in names:
            try:
                got, rate = RUNS[name](f, program.argument(x), d)
            except AdjointError:
                found[name] = "refused"
                continue
            except ValueError as e:  # NumPy's, over ours: an element of an array is no tensor
                found[name] = "refused" if "setting an array element" in str(e) else text + str(e)
                continue
            right = np.isclose(got, expected, rtol=1e-10, atol=1e-6 if loose else 1e-10) and (
                rate is None or not smooth or np.isclose(rate, fine, rtol=2e-5, atol=2e-5))
            found[name] = "right" if right else (
                f"{text}{name}: {got}, {rate}; NumPy has {expected}, {fine}")
    return found


@pytest.mark.parametrize("kind", [*SHAPES])
def test_random_writes_do_what_numpy_does(kind):
    outcomes = []
    for seed in range(24):
        others = np.random.default_rng(seed).choice([*RUNS][1:], 3, replace=False)
        outcomes += checked(seed, kind, 2 + seed % 6, ["backward", *others]).values()
    wrong = [o for o in outcomes if o not in ("right", "refused")]
    assert not wrong, "\n".join(wrong)
    assert outcomes.count("right") > 0.6 * len(outcomes)


@pytest.mark.parametrize("line, kind", [
    ("y.sort()", "vector"), ("np.add(y, 1.0, out=y)", "vector"), ("y *= 2.0", "array"),
    ("y[0] += x[1]", "vector")])
def test_a_lost_write_is_found(line, kind):
    """The comparison can fail: the same program without its write has another value."""
    program = Program(0, kind, 0)
    whole = built(["y = x * 1.0" if kind == "vector" else "y = x.copy()", "z = y", line], ad,
                  "return np.sum(np.sin(z) * x)")[0]
    less = built(["y = x * 1.0", "z = y"], Plain, "return np.sum(np.sin(z) * x)")[0]
    got = ad.value_and_grad(whole)(program.argument(program.x))[0]
    if line != "y.sort()" or np.any(np.diff(program.x) < 0):
        assert abs(got - less(program.argument(program.x))) > 1e-6
