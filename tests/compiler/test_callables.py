"""Function objects whose calls go straight to machine code, and the class where none can."""

import copy
import ctypes
import functools
import gc
import inspect
import os
import pickle
import subprocess
import sys
import threading
import types
import weakref

import numpy as np
import pytest

import adjoint as ad
from adjoint.compiler import abi, callables, jitted
from adjoint.compiler.call import entry
from adjoint.compiler.callables import ENTRIES, kind, plain, serve
from adjoint.compiler.compiled import Compiled
from adjoint.compiler.program import ProgramBuilder
from adjoint.compiler.sources import ARRAY, Argument, Input
from adjoint.core.node import aval_of

X = np.arange(6.0).reshape(2, 3)
X_IS_2 = {"x": 2}


def noted():
    """A class as `kind` takes it; a new one each time."""
    class Noted:
        """Its documentation."""

        __slots__ = ENTRIES

        def __call__(self, *args, **keywords):
            return "not served", args, keywords

        def told(self):
            return self.note
    return Noted


def doubling(slow):
    """A builtin that doubles an array like X; else it calls ``slow``."""
    b = ProgramBuilder()
    x = b.input(aval_of(X))
    b.program.outputs = [b.elementwise("add", x, x).number]
    return entry(Compiled(b.program), [Input(Argument(0))], [ARRAY], slow, arguments=1)


def echo(*args, **keywords):
    return args, keywords


@pytest.fixture(params=["described", "plain"])
def make(request):
    """A function that makes an object: with the field, or without."""
    made = kind if request.param == "described" else plain

    def instance():
        return made(noted())()
    return instance


def test_an_object_is_called_as_its_class_says_until_it_is_served(make):
    f = make()
    assert f(1, x=2) == ("not served", (1,), {"x": 2}) == f(*(1,), **X_IS_2)
    serve(f, echo)
    if type(f) in callables.entries:
        assert f(1, x=2) == ((1,), {"x": 2}) == f(*(1,), **X_IS_2)
    assert f.__call__(1) == ("not served", (1,), {})


@pytest.mark.parametrize("served", [False, True])
def test_an_object_has_what_objects_have(make, served):
    f = make()
    if served:
        serve(f, echo)
    f.note = "a note"
    assert f.told() == f.note == vars(f)["note"] == "a note"
    functools.update_wrapper(f, noted)
    assert (f.__name__, f.__wrapped__, f.__doc__) == ("noted", noted, noted.__doc__)
    assert inspect.signature(f) == inspect.signature(noted)
    f.__dict__ = {"note": "another"}
    assert f.told() == "another"
    del f.note
    with pytest.raises(AttributeError):
        f.told()
    assert weakref.ref(f)() is f and f == f and hash(f) == hash(f) and callable(f)
    assert not isinstance(f, types.FunctionType) and "Noted object" in repr(f)


def test_the_class_is_the_one_that_was_given(make):
    f = make()
    base = type(f).__mro__[1]
    assert isinstance(f, base) and type(f) is not base
    assert (type(f).__name__, type(f).__module__, type(f).__doc__) == (
        "Noted", __name__, "Its documentation.")


def test_a_described_class_has_the_field():
    cls = noted()
    made = kind(cls)
    assert made in callables.entries and made is kind(cls)
    assert made.__flags__ & callables.HAVE_VECTORCALL
    assert not hasattr(made(), ENTRIES[0])  # nobody else sets what machine code follows
    assert gc.is_tracked(made())


def test_nobody_derives_from_a_described_class():
    with pytest.raises(TypeError, match="acceptable base type"):
        type("Own", (kind(noted()),), {})


def test_the_builtin_gets_the_arguments_as_they_are():
    f = kind(noted())()
    serve(f, doubling(echo))
    np.testing.assert_array_equal(f(X), 2 * X)
    np.testing.assert_array_equal(f(*[X]), 2 * X)
    assert f(x=2) == ((), X_IS_2) and f() == ((), {}) and f(1, 2) == ((1, 2), {})
    assert f(1, *[2, 3], **X_IS_2) == ((1, 2, 3), X_IS_2)
    method = types.MethodType(f, 5)  # calls with room for one argument more in front
    assert method(6, z=7) == ((5, 6), {"z": 7})
    assert list(map(f, [1, 2])) == [((1,), {}), ((2,), {})]
    assert functools.partial(f, 1)(2) == ((1, 2), {})


def test_an_error_goes_through():
    def fails(*args):
        raise KeyError(args)
    f = kind(noted())()
    for entry_ in (fails, doubling(fails)):
        serve(f, entry_)
        for _ in range(3):
            with pytest.raises(KeyError, match="1, 2"):
                f(1, 2)
    assert sys.exc_info() == (None, None, None)


def test_endless_recursion_is_an_error():
    f = kind(noted())()

    def again(*args):
        return f(*args)
    for entry_ in (again, doubling(again)):
        serve(f, entry_)
        with pytest.raises(RecursionError):
            f(1)


def test_references_stay_as_they_are():
    f = kind(noted())()
    argument, held = object(), doubling(echo)
    frame = held.__self__
    serve(f, held)
    counted = (f, argument, frame, held, type(f), None, True)
    before = [sys.getrefcount(o) for o in counted]
    for _ in range(2000):
        f(argument)
        f(argument, x=argument)
        f(X)
    assert np.abs(np.subtract([sys.getrefcount(o) for o in counted], before)).max() < 20
    watch = weakref.ref(frame)
    del frame, held, counted
    serve(f, echo)
    gc.collect()
    assert watch() is None and f(1) == ((1,), {})


def test_an_object_ends_with_what_it_refers_to():
    f = kind(noted())()
    f.itself, holder = f, [f]
    f.entry = doubling(lambda *args: holder[0])
    watches = [weakref.ref(f), weakref.ref(f.entry.__self__)]
    serve(f, f.entry)
    assert f(1) is f
    holder.clear()
    del f
    gc.collect()
    assert [w() for w in watches] == [None, None]


def test_objects_do_not_keep_their_class_or_let_it_go():
    made = kind(noted())
    before = sys.getrefcount(made)
    several = [made() for _ in range(100)]
    assert sys.getrefcount(made) == before + 100
    del several
    assert sys.getrefcount(made) == before


def test_an_entry_that_changes_while_it_runs():
    f = kind(noted())()
    holder = [f]

    def change(*args):
        serve(holder[0], doubling(echo))
        gc.collect()
        return "changed"
    for entry_ in (change, doubling(change)):
        serve(f, entry_)
        del entry_  # now the object is the only one that refers to it
        assert f(1) == "changed"
        np.testing.assert_array_equal(f(X), 2 * X)
    watch = weakref.ref(f)
    del holder[0], f
    gc.collect()
    assert watch() is None


def test_an_object_that_is_deleted_while_it_is_called():
    holder = [kind(noted())()]

    def leave(*args):
        holder.clear()
        gc.collect()
        return len(args)
    serve(holder[0], doubling(leave))
    assert holder[0](1, 2) == 2 and not holder


def test_an_object_whose_parts_were_collected_is_an_error():
    f = kind(noted())()
    serve(f, doubling(echo))
    callables.entries[type(f)].__delete__(f)  # as the collection of garbage does
    with pytest.raises(SystemError, match="without setting an exception"):
        f(X)
    serve(f, echo)
    assert f(1) == ((1,), {})


def test_threads_call_while_entries_change():
    f = kind(noted())()
    entries = [doubling(echo), echo, doubling(echo)]
    serve(f, entries[0])
    wrong, done = [], threading.Event()

    def calls():
        while not done.is_set():
            found = f(X)
            if not (isinstance(found, tuple) or (found == 2 * X).all()):
                wrong.append(found)
    workers = [threading.Thread(target=calls) for _ in range(4)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for w in workers:
            w.start()
        for k in range(600):
            serve(f, doubling(echo) if k % 20 == 0 else entries[k % 3])
    finally:
        done.set()
        for w in workers:
            w.join()
        sys.setswitchinterval(interval)
    assert not wrong


# ---- where there is no such class

def no_field(monkeypatch):
    monkeypatch.setattr(callables, "word", lambda _: 1)


def other_flags(monkeypatch):
    monkeypatch.setattr(callables, "HAVE_COLLECTION", 1 << 14 | 1 << 13)


def no_function(monkeypatch):
    monkeypatch.setattr(ctypes, "pythonapi", types.SimpleNamespace())


def unknown_interpreter(monkeypatch):
    monkeypatch.setattr(callables, "abi", lambda: None)


def other_offset(monkeypatch):
    monkeypatch.setattr(callables, "slot_offset", lambda *_: 0)


@pytest.mark.parametrize("spoil", [
    no_field, other_flags, no_function, unknown_interpreter, other_offset])
def test_another_layout_falls_back(spoil, monkeypatch):
    spoil(monkeypatch)
    cls = noted()
    made = kind(cls)
    monkeypatch.undo()
    f = made()
    f.note = 2
    serve(f, echo)
    assert made not in callables.entries and f(1) == ("not served", (1,), {}) and f.told() == 2


@pytest.mark.parametrize("cls", [
    type("Dictionary", (), {"__call__": echo}),
    type("More", (), {"__slots__": ("first", *ENTRIES), "__call__": echo}),
    type("Weak", (), {"__slots__": (*ENTRIES, "__weakref__"), "__call__": echo}),
    type("Derived", (noted(),), {"__slots__": ENTRIES})])
def test_classes_of_another_shape_are_left_to_python(cls):
    assert kind(cls) not in callables.entries and isinstance(kind(cls)(), cls)


# ---- compiled functions

@pytest.fixture(params=["described", "plain"])
def kinds(request, monkeypatch):
    """Compiled functions of both classes."""
    if request.param == "plain":
        monkeypatch.setattr(jitted, "kind", plain)
    return request.param


def test_a_compiled_function_gives_the_same_of_both_classes(kinds):
    f = ad.jit(lambda x, y: np.sin(x) * y)
    for _ in range(4):
        np.testing.assert_allclose(f(X, 2.0), np.sin(X) * 2.0, rtol=1e-15)
        np.testing.assert_allclose(f(y=2.0, x=X), np.sin(X) * 2.0, rtol=1e-15)
        assert f(0.5, 2.0) == np.sin(0.5) * 2.0
    assert isinstance(f, jitted.Jitted) and (type(f) in callables.entries) == (
        kinds == "described" and abi.abi() is not None)
    assert f.quick.__class__ is type(len) or abi.abi() is None


def test_a_version_of_python_source_is_served_too(kinds):
    f = ad.jit(lambda x: {"y": x["y"] * 2.0})  # a dict of arguments: Python takes it apart
    for _ in range(4):
        np.testing.assert_array_equal(f({"y": X})["y"], 2 * X)
    assert isinstance(f.quick, types.FunctionType) or abi.abi() is None
    np.testing.assert_array_equal(f({"y": X[:1]})["y"], 2 * X[:1])
    with pytest.raises(TypeError):
        f()


def test_compiled_methods_copies_and_pickles(kinds):
    class Model:
        @ad.jit
        def scaled(self, x):
            return x * 3.0
    m = Model()
    for _ in range(4):
        np.testing.assert_array_equal(m.scaled(X), 3 * X)
    other = copy.deepcopy(m.scaled)
    np.testing.assert_array_equal(other(X), 3 * X)
    assert "scaled" in repr(m.scaled) and m.scaled.__name__ == "scaled"
    assert pickle.loads(pickle.dumps(scaled)) is scaled
    for _ in range(4):
        assert scaled(2.0) == 8.0
    assert pickle.loads(pickle.dumps(scaled)) is scaled


@ad.jit
def scaled(x):
    return x * 4.0


def test_threads_call_one_function_that_is_traced_meanwhile(kinds):
    setting = {"scale": 1}
    f = ad.jit(lambda x: x * setting["scale"])
    wrong, done = [], threading.Event()

    def calls():
        while not done.is_set():
            found = f(X)
            if not any((found == k * X).all() for k in range(1, 7)):
                wrong.append(found)
    workers = [threading.Thread(target=calls) for _ in range(4)]
    for w in workers:
        w.start()
    try:
        for k in [1, 2, 3, 4, 5, 6, 2, 4]:
            setting["scale"] = k
            for _ in range(3):
                np.testing.assert_array_equal(f(X), k * X)
    finally:
        done.set()
        for w in workers:
            w.join()
    assert not wrong


HARD = """
import gc, sys
import numpy as np
import adjoint as ad
f = ad.jit(ad.grad(lambda a, b: np.log(a) + a * b - np.sin(b), (0, 1)))
for _ in range(5):
    r = f(2.0, 5.0)
served = f.quick.__self__
counts = [sys.getrefcount(o) for o in (f, served, type(f), None)]
for k in range(20000):
    assert f(2.0, 5.0) == r
    if k % 1000 == 0:
        assert f(np.float64(2.0), 5.0) == r and f(*[2.0, 5.0], **{}) == r
        try:
            f("2", 5.0)
        except ad.errors.ArgumentError:
            pass
        else:
            raise SystemExit("a string is no number")
gc.collect()
after = [sys.getrefcount(o) for o in (f, served, type(f), None)]
assert max(abs(a - b) for a, b in zip(counts, after)) < 300, (counts, after)
gc.set_threshold(1)
functions = [ad.jit(lambda x, k=k: x * k) for k in range(4)]
for g in functions:
    for _ in range(4):
        g(1.5)
del functions, g, f, served
gc.collect()
class Late:
    def __init__(self):
        self.f = ad.jit(lambda x: x + 1.0)
        for _ in range(4):
            self.f(1.0)
    def __del__(self):
        if self.f(1.0) != 2.0:
            sys.stderr.write("wrong at the end")
late = Late()
late.itself = late
print("fine")
"""


def test_a_debugging_interpreter_finds_nothing():
    out = subprocess.run([sys.executable, "-X", "dev", "-c", HARD], capture_output=True, text=True,
                         check=False, env={**os.environ, "PYTHONMALLOC": "debug"})
    assert (out.returncode, out.stdout, out.stderr) == (0, "fine\n", "")
