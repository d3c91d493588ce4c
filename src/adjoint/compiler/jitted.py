"""`ad.jit`: a function that is traced once for each kind of arguments, and then runs compiled."""

from __future__ import annotations

import copy
import functools
import inspect
import reprlib
import types
import warnings
import weakref
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from adjoint.core.box import Box
from adjoint.core.node import MODES, aval_of, leaf, switch
from adjoint.errors import ArgumentError, CompileWarning, GraphError
from adjoint.modes import DEFAULT_DTYPE
from adjoint.scalars import is_changeable, of_tensors
from adjoint.tensors import Tensor, untracked
from adjoint.transforms.trees import check_function, flatten, kind_like, plain, unflatten

from .callables import ENTRIES, kind, serve
from .donation import donate
from .editor import uncollected
from .fast_calls import fast_call
from .plans import Plan
from .showing import STAGES
from .tracing import LOCK, Capture, trace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from adjoint.core.node import Modes

OFTEN = 8  # versions for one kind of arguments, of which older ones are forgotten
MOST = 4  # quick ways that are tried one after the other
FLOAT = np.dtype(float)
NUMBERS = (bool, int, float, complex)


class Jitted:
    """A compiled function; made by `jit`. CPython calls machine code itself once there is some."""

    __slots__ = ENTRIES

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """An object with attributes, of the class that is called fastest."""
        return object.__new__(kind(Jitted))

    def __init__(self, f: Callable[..., Any], static: frozenset[int | str],
                 donated: frozenset[int]) -> None:
        functools.update_wrapper(self, f)
        self.__jitted__, self.name = f, getattr(f, "__name__", type(f).__name__)
        self.static, self.donated = static, donated
        self.plans: dict[Any, list[Plan]] = {}
        self.quick: Any = self.general
        self.ways: list[Any] = []

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """What the function gives."""
        return self.quick(*args, **kwargs)

    def general(self, *args: Any, **kwargs: Any) -> Any:
        """What the function gives, computed by the version that fits; a new one if none does."""
        if args and isinstance(args[0], type) and self.is_method_of(args[0]):
            return self.__get__(args[0])(*args[1:], **kwargs)
        modes = MODES.get()
        if modes.watch is not None or modes.tapes:
            return self.watched(modes, args, kwargs)
        with LOCK:  # nobody traces meanwhile, which puts Symbols into what is read here
            plan, given = self.version(args, kwargs)
            values = plan.values(given)
        if plan.calls == 1 and not kwargs and not self.static and not switch.armed:
            self.quicken(plan, args)
        plan.calls += 1
        outs = plan.run(values)
        self.give_up(plan, given)
        return plan.finish(outs, kind_of_results(given))

    def watched(self, modes: Modes, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """The call where something looks at what is computed: eagerly, if it looks at each step.

        A doctor lets the machine code run, and looks at what comes out. If that is not finite the
        call is made again, eagerly and under its eyes. Nothing has been assigned before.
        """
        watch: Any = modes.watch
        if watch is None or not watch.by_results or not all(
                getattr(tape, "idle", False) for tape in modes.tapes):
            return self.__jitted__(*args, **kwargs)
        with watch.resting():
            with LOCK:
                plan, given = self.version(args, kwargs)
                values = plan.values(given)
            outs = plan.run(values)
        kind = kind_of_results(given)
        if not watch.wrong(outs):
            return plan.finish(outs, kind)
        if plan.gives_state or any(isinstance(x, Box) for x in given):
            return self.__jitted__(*args, **kwargs)
        return plan.like(self.__jitted__(*self.tensors(args), **self.tensors(kwargs)), kind)

    def tensors(self, given: Any) -> Any:
        """Arguments with untracked tensors for arrays: who looks at operations sees those of Boxes.

        Numbers stay numbers where they meet arrays, because they adopt their dtype.
        """
        named = isinstance(given, dict)
        data = {k: v for k, v in (given.items() if named else enumerate(given))
                if k not in self.static}
        leaves, structure = flatten(data)
        numbers = all(type(x) is float for x in leaves)
        leaves = [untracked(np.array(x)[()]) if aval_of(x).inexact and (
            numbers or not aval_of(x).weak) else x for x in leaves]
        data = unflatten(structure, leaves)
        return {**given, **data} if named else [data.get(k, v) for k, v in enumerate(given)]

    def quicken(self, plan: Plan, args: Sequence[Any]) -> None:
        """Let further calls of a version go the quick way, before any other is asked."""
        numbers = bool(args) and all(type(x) is float for x in args)
        slow = self.quick if len(self.ways) < MOST else self.general
        quick = fast_call(plan, args, numbers, slow)
        if quick is not None:
            self.ways.append(quick)
            self.quick = quick
            serve(self, quick)

    def version(self, args: Sequence[Any], kwargs: dict[str, Any]) -> tuple[Plan, list[Any]]:
        """The version for these arguments, and their leaves; traced if there is none yet."""
        modes = MODES.get()
        given, structure, fixed = self.split(args, kwargs)
        key = (structure, fixed, tuple(map(kind_of, given)), modes.paused > 0, modes.strict,
               DEFAULT_DTYPE.get())
        for plan in self.plans.get(key, ()):
            if plan.fits():
                return plan, given
        plan, known = self.traced(args, kwargs), self.plans.setdefault(key, [])
        known.append(plan)
        if len(known) == OFTEN:
            warnings.warn(
                f"ad.jit: {self.name} was traced {OFTEN} times for arguments of one kind. What "
                f"changes between the calls is {known[-2].text.reason() or 'unknown'!r}: a value "
                "that is compared. A number that changes is a float or a tensor; an int makes a "
                "version for each value", CompileWarning, stacklevel=4)
        del known[:-OFTEN]
        return plan, given

    def show(self, *args: Any, stage: str = "kernels", **kwargs: Any) -> str:
        """How a call with these arguments would run, without running it; it is compiled if need be.

        ``stage`` is one of: "graph" (the operations, with their lines), "program" (statements of
        the loop language), "kernels" (the native loops, with the lines that they compute), "memory"
        (where values live), "llvm", "asm".

        >>> print(ad.jit(lambda x: np.sin(x) * 2.0).show(1.0, stage="program"))
        %0 = input(0): float64[]
        %1 = elementwise(%0, sin): float64[]
        %2 = const(0): float64[]
        %3 = elementwise(%1, %2, multiply): float64[]
        return %3
        """
        if stage not in STAGES:
            raise ArgumentError(f"ad.jit: stage is one of {', '.join(STAGES)}, not {stage!r}")
        plan, _ = self.version(args, kwargs)
        return STAGES[stage](plan.graph)

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        """The method of an object: each has versions of its own, which live as long as it does."""
        if instance is None:
            return self
        name = f"_jitted_{self.name}"
        found = vars(instance).get(name) if hasattr(instance, "__dict__") else None
        if found is None or found.__jitted__.__self__ is not instance:  # as in a copy
            bound = types.MethodType(self.__jitted__, instance)
            shift = {k - 1 if isinstance(k, int) else k for k in self.static}
            found = Jitted(bound, frozenset(shift), frozenset(k - 1 for k in self.donated))
            try:
                if isinstance(instance, type):
                    setattr(instance, name, found)
                else:
                    vars(instance)[name] = found
            except TypeError:
                warnings.warn(
                    f"ad.jit: objects of {type(instance).__name__} have no __dict__ that keeps "
                    f"compiled methods, so {self.name} is traced at each call. Compile a function "
                    'outside of the class, or add "__dict__" to its __slots__', CompileWarning,
                    stacklevel=2)
        return found

    def is_method_of(self, owner: type) -> bool:
        """Whether this is a classmethod, which CPython 3.13 calls with the class itself."""
        found = inspect.getattr_static(owner, self.name, None)
        return isinstance(found, classmethod) and found.__func__ is self

    def __deepcopy__(self, memo: Any) -> Jitted:
        return Jitted(copy.deepcopy(self.__jitted__, memo), self.static, self.donated)

    def __reduce__(self) -> Any:
        if isinstance(self.__jitted__, types.MethodType):
            return getattr, (self.__jitted__.__self__, self.name)
        return getattr(self, "__qualname__", self.name)  # it is found by that, as functions are

    def __repr__(self) -> str:
        return f"<ad.jit of {getattr(self, '__qualname__', self.__jitted__)}>"

    def split(self, args: Sequence[Any], kwargs: dict[str, Any]) -> tuple[list[Any], Any, Any]:
        """The leaves of the arguments that are data, their structure, and the static ones."""
        static = [(k, v) for k, v in enumerate(args) if k in self.static]
        named = [(k, kwargs[k]) for k in sorted(kwargs) if k in self.static]
        data = tuple([None if k in self.static else v for k, v in enumerate(args)])
        rest = {k: v for k, v in kwargs.items() if k not in self.static}
        leaves, structure = flatten((data, rest))
        fixed = tuple([(k, type(v), v) for k, v in [*static, *named]])
        try:
            hash(fixed)
        except TypeError:
            raise ArgumentError("ad.jit: a static argument is a key, so it must be hashable; got "
                                f"{[type(v).__name__ for _, _, v in fixed]}. A list can be given "
                                "as a tuple; arrays are data") from None
        return leaves, structure, fixed

    def traced(self, args: Sequence[Any], kwargs: dict[str, Any]) -> Plan:
        """A new version of the function."""
        nodes: list[Any] = []
        inside: list[Any] = []
        containers: list[Any] = []

        def arguments(capture: Capture) -> tuple[Any, Any]:
            nodes.clear()
            inside.clear()
            leaves, structure, fixed = self.split(args, kwargs)
            inside.extend(argument(capture, x, nodes) for x in leaves)
            data, rest = unflatten(structure, inside)
            containers[:] = (data, rest), structure
            values = {k: v for k, _, v in fixed}
            full = [values.get(k, v) for k, v in enumerate(data)]
            return full, rest | {k: v for k, v in values.items() if isinstance(k, str)}
        with uncollected():
            tracing = trace(self.__jitted__, arguments)
        check_containers(containers, inside)
        for x, n in zip(inside, nodes, strict=True):
            if isinstance(x, Tensor) and x.grad is not None:
                raise GraphError("ad.jit: backward() inside the compiled function reaches an "
                                 f"argument of shape {x.shape} that requires a gradient. Return "
                                 "ad.grad(...)(x), or close over the tensor")
            if getattr(x.value if isinstance(x, Tensor) else x, "node", n) is not n:
                raise GraphError("ad.jit: the function changes its argument of shape "
                                 f"{x.shape} in place, which would be lost; return the new value")
        return Plan(tracing, nodes, self.donors(args))

    def donors(self, args: Sequence[Any]) -> list[int]:
        """The leaves of the arguments whose memory the call may write to."""
        found, count = list[int](), 0
        for k, a in enumerate(args):
            size = 0 if k in self.static else len(flatten(a)[0])
            found += range(count, count + size) if k in self.donated else ()
            count += size
        return found

    def give_up(self, plan: Plan, given: Sequence[Any]) -> None:
        """Let nobody use the tensors any more that were donated."""
        for k in plan.donors:
            if isinstance(given[k], Tensor) and not isinstance(given[k].value, Box):
                donate(given[k])


def check_containers(containers: Sequence[Any], leaves: Sequence[Any]) -> None:
    """An error if the lists and dicts among the arguments are not what they were.

    ``containers`` are the arguments, after the function has run, and their structure before it.
    """
    arguments, structure = containers
    found, after = flatten(arguments)
    if after != structure or any(x is not y for x, y in zip(found, leaves, strict=True)):
        raise GraphError("ad.jit: the function changes a list or a dict among its arguments, which "
                         "would be lost; change a copy, and return it")


def argument(capture: Capture, x: Any, nodes: list[Any]) -> Any:
    """The Symbol of one leaf of the arguments; a Tensor for a Tensor."""
    s: Any = capture.input(aval_of(x))
    nodes.append(s.node)
    if not (isinstance(x, Tensor) and x.level == 0):
        return capture.stand_in(s.node, x)
    t = untracked(s)
    if x.node is not None:
        t.node = leaf(s, weakref.ref(t))
    return t


def kind_of(x: Any) -> Any:
    """What a compiled function is specific to in a leaf: the class, what is known, if tracked.

    And what a change in place does, inside of transformations (`adjoint/scalars.py`).
    Raises ArgumentError for what is no number and no array.
    """
    if x.__class__ is np.ndarray or isinstance(x, (np.generic, *NUMBERS)):
        if getattr(x, "dtype", FLOAT).kind in "fciub":
            return x.__class__, aval_of(x)
    elif isinstance(x, Box):
        held = (of_tensors(x), not x.shape and is_changeable(x)) if x.level else None
        return x.__class__, x.aval, x.level > 0, getattr(x, "node", None) is None, held
    raise refused(x)


def refused(x: Any) -> ArgumentError:
    """The error for an argument that is no number and no array."""
    if isinstance(x, (np.ndarray, np.generic)):
        known = f"{type(x).__name__} of {x.dtype}, of shape {x.shape}"
        remedy = ("its dtype has no arithmetic; give numbers" if x.dtype.kind not in "fciub" else
                  "it has rules of its own, which no operation knows; give np.asarray(x)")
        return ArgumentError(f"ad.jit: an argument is a {known}: {remedy}")
    return ArgumentError(
        f"ad.jit: an argument is {reprlib.repr(x)} ({type(x).__name__}), which is no number and no "
        "array. Name the argument in static_argnums or static_argnames, and the function is "
        "compiled once for each of its values")


def kind_of_results(given: Sequence[Any]) -> Callable[[Any], Any]:
    """What becomes of a raw result: a number if all arguments are numbers. Tensors are told apart.

    >>> from adjoint.compiler.jitted import kind_of_results
    >>> kind_of_results([1.0, 2.0])(np.float64(3.0)), kind_of_results([np.ones(2)])(np.float64(3.0))
    (3.0, np.float64(3.0))
    """
    return kind_like(0.0) if given and all(type(x) in NUMBERS for x in given) else plain


def positions(name: str, given: Any, kind: type) -> list[Any]:
    """One position or name, or several, as a list."""
    several = list(given) if isinstance(given, (tuple, list, set, frozenset)) else [given]
    if not all(isinstance(k, kind) and not isinstance(k, bool) for k in several):
        raise ArgumentError(f"ad.jit: {name} is a {kind.__name__} or several, not {given!r}")
    return several


def jit(f: Callable[..., Any] | None = None, *, static_argnums: int | Iterable[int] = (),
        static_argnames: str | Iterable[str] = (), donate_argnums: int | Iterable[int] = ()) -> Any:
    """``f`` as machine code: traced once for each kind of arguments, then run natively.

        jit(f)(x) = f(x)

    Arguments and results are pytrees. A version belongs to the structure, shapes and dtypes of the
    arguments, and to the values of static ones. What f reaches besides (tensors, arrays and floats
    in closures, globals, attributes of modules and optimisers) is read anew at each call; other
    values that it reaches are compared, and a change traces again. What it assigns to tensors
    (``backward()``, ``opt.step()``) is assigned at each call. It composes with grad, vmap, jvp and
    jit in any order. Use it as a decorator or a function.

    Args:
        f: A function of numbers, arrays, tensors and containers of them.
        static_argnums: Positions of arguments that are settings: hashable, a version for each.
        static_argnames: Names of such arguments.
        donate_argnums: Positions of arguments that are not used after the call: a result of the
            same shape and dtype may be written over one of their arrays. Such a tensor raises
            MutationError when it is used again; a NumPy array cannot tell, and holds the result.

    Raises EscapeError where Python branches on a value, ArgumentError for an argument that is no
    array and not static.

    >>> ad.jit(lambda x: np.sin(x) * 2.0)(0.0)
    0.0
    >>> ad.jit(ad.grad(lambda x: x ** 3))(2.0)
    12.0
    """
    numbers = positions("static_argnums", static_argnums, int)
    names = positions("static_argnames", static_argnames, str)
    donated = positions("donate_argnums", donate_argnums, int)
    if f is None:
        return functools.partial(jit, static_argnums=numbers, static_argnames=names,
                                 donate_argnums=donated)
    if isinstance(f, (staticmethod, classmethod)):
        inner = jit(f.__func__, static_argnums=numbers, static_argnames=names,
                    donate_argnums=donated)
        return type(f)(inner)
    check_function(f, "ad.jit(f)")
    if any(test(f) for test in (inspect.isgeneratorfunction, inspect.iscoroutinefunction,
                                inspect.isasyncgenfunction)):
        raise ArgumentError(f"ad.jit: {getattr(f, '__name__', f)} is a generator or async "
                            "function, whose body runs after the call. Compile a function that "
                            "returns its results, and call that from it")
    static = frozenset([*numbered(f, "static_argnums", numbers), *names, *named(f, numbers)])
    given = frozenset(numbered(f, "donate_argnums", donated))
    both = sorted({*given, *named(f, [*given])} & static, key=str)
    if both:
        raise ArgumentError(f"ad.jit: argument {both[0]!r} is both static and donated. A static "
                            "argument has no memory to give; leave it out of donate_argnums")
    return Jitted(f, static, given)


def parameters(f: Any) -> tuple[list[str], bool]:
    """The names of the positional parameters, and whether there may be more."""
    try:
        found = inspect.signature(f).parameters.values()
    except (TypeError, ValueError):  # of a builtin, which does not tell
        return [], True
    return ([p.name for p in found if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)],
            any(p.kind is p.VAR_POSITIONAL for p in found))


def numbered(f: Any, what: str, numbers: Sequence[int]) -> list[int]:
    """Positions, negative ones counted from the end; an error for one that there is not."""
    names, some = parameters(f)
    for n in numbers:
        if not -len(names) <= n < len(names) and (n < 0 or not some):
            name, known = getattr(f, "__name__", "the function"), ", ".join(names) or "none"
            raise ArgumentError(f"ad.jit: {what}={n}, and {name} has {len(names)} positional "
                                f"parameters ({known}), counted from 0")
    return [n + len(names) if n < 0 else n for n in numbers]


def named(f: Any, numbers: Sequence[int]) -> list[str]:
    """The names of the parameters at these positions: a static one may be given by name."""
    names, _ = parameters(f)
    return [names[n] for n in numbers if -len(names) <= n < len(names)]


