"""PyTorch's face: Tensor, with requires_grad, .grad and backward().

The handle (Tensor) and the Node are two objects. Gradients live on the handle and a leaf knows its
owner weakly, so no reference cycle exists. Values are owned: what the user can still write to is
copied before a graph holds it, and a write through a Tensor gives it a new node; it goes into the
old buffer only where nobody else can reach that.
"""

from __future__ import annotations

import sys
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np

from adjoint.core.box import Box, live
from adjoint.core.careful import QUIET
from adjoint.core.node import (
    MODES,
    NO_PARAMS,
    Leaf,
    aval_of,
    constant,
    leaf,
    ndarray,
    new,
    node,
    private,
    switch,
)
from adjoint.core.primitive import NUMPY, PUBLIC
from adjoint.core.reverse import Tracked
from adjoint.core.symbol import Symbol
from adjoint.errors import (
    ArgumentError,
    DTypeError,
    EscapeError,
    GraphError,
    ShapeError,
    escape,
)

from . import exits, hooks, methods, scalars
from .exits import bottom, is_tracked
from .modes import sweep
from .ops import declare
from .ops.protocol import check_caller

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .core.primitive import Primitive

GRADFUL = "fc"
arrived, conjugate = hooks.arrived, hooks.conjugate
ROWS = declare.COMPOSED  # importing ops enters the rows


class Tensor(Tracked):
    """An array that remembers how it was made: ``Tensor(data, requires_grad=False, dtype=None)``.

    ``data`` is copied. With ``requires_grad`` the tensor is a leaf: ``backward()`` of a result adds
    the gradient to its ``.grad``. Raises DTypeError if a gradient is asked of integers or booleans,
    EscapeError if ``data`` contains tracked values (`ad.array` joins those).

    >>> x = ad.tensor([1.0, 2.0], requires_grad=True)
    >>> (x * x).sum().backward()
    >>> x.grad
    tensor([2., 4.])
    """

    __slots__ = ("__weakref__", "_base", "_gradient")

    def __init__(self, data: Any, requires_grad: bool = False, dtype: Any = None) -> None:
        if isinstance(data, Box):
            if is_tracked(data):
                raise escape("ad.tensor(x)",
                             "x itself, or ad.tensor(x.detach()) for a copy outside the graph")
            data = data.concrete()
        value = as_value(data, dtype)
        self.value, self.aval = value, aval_of(value)
        self.level, self.node = 0, None
        if switch.armed:
            methods.born(self)
        if requires_grad:
            self.requires_grad = True

    # ---- what it is

    @property
    def requires_grad(self) -> bool:
        """Whether a gradient can reach this tensor."""
        return self.node is not None

    @requires_grad.setter
    def requires_grad(self, wanted: bool) -> None:
        if not self.is_leaf:
            raise GraphError("requires_grad can be set on leaves only; use y.detach() for a value "
                             "outside the graph")
        if wanted and self.aval.dtype.kind not in GRADFUL:
            raise DTypeError(
                f"{self.dtype} has no derivative: only floating point and complex tensors require "
                "gradients; write ad.tensor(data, dtype=float, requires_grad=True)")
        if wanted != (self.node is not None):
            self.node = leaf(self.value, weakref.ref(self)) if wanted else None

    def requires_grad_(self, wanted: bool = True) -> Tensor:
        """Set ``requires_grad`` and return the tensor."""
        self.requires_grad = wanted
        return self

    @property
    def is_leaf(self) -> bool:
        """Whether no recorded operation made it."""
        return self.node is None or self.node.inputs == ()

    @property
    def grad_fn(self) -> hooks.GradFn | None:
        """The recorded operation that made it, None for a leaf."""
        n = self.node
        return None if n is None or n.inputs == () else hooks.GradFn(n)

    @property
    def device(self) -> str:
        """Always "cpu": a device is a target of the compiler."""
        return "cpu"

    def to(self: Any, target: Any = "cpu", dtype: Any = None) -> Any:
        """The tensor on ``"cpu"`` (where it is), or in another dtype."""
        if isinstance(target, str) and target.split(":")[0] in ("cpu", "cuda", "mps"):
            if target != "cpu":
                raise ArgumentError(f"there is no device {target!r}; tensors are on the cpu")
            return self if dtype is None else self.astype(dtype)
        return self.astype(target)

    # ---- values

    @property
    def data(self) -> Tensor:
        """The value as an untracked Tensor; assigning rebinds the tensor to a new value.

        ``x.data += v`` reads, adds and assigns. A write into what was read, ``x.data[0] = v``,
        would be lost, and raises MutationError: write ``x[0] = v`` inside ``with ad.no_grad():``.
        """
        return self.detach()

    @data.setter
    def data(self, value: Any) -> None:
        self.writable("x.data = v")
        plain = value.value if isinstance(value, Tensor) and value.level == 0 else value
        if (traced := methods.symbol_of(plain, None)) is not None:
            value = traced
        else:
            value = value.concrete() if isinstance(value, Box) else as_value(value, None)
        if self.node is not None and value.shape != self.shape:
            raise ShapeError(f"x.data = v: v has shape {value.shape}, and a gradient of shape "
                             f"{self.shape} belongs to x; make a new tensor of the other shape")
        if self.node is not None and value.dtype != self.dtype:
            if not np.can_cast(value.dtype, self.dtype, "same_kind"):
                raise DTypeError(f"x.data = v: v is {value.dtype}, and x, which has a gradient, is "
                                 f"{self.dtype}; make a new tensor of the other dtype")
            value = value.astype(self.dtype)
        methods.move(self, value, "x.data = v")

    def detach(self) -> Tensor:
        """The same value outside the graph, at every level."""
        value = self.value
        if isinstance(value, Box):
            value = PUBLIC["stop_gradient"](value)
        y = untracked(value, self.level)
        y._base = weakref.ref(self)  # a write through y would have to reach this tensor
        return y

    def numpy(self) -> Any:
        """A read-only view of the values; an error while the tensor is tracked."""
        if is_tracked(self):
            raise EscapeError(f"x.numpy() of a tracked tensor {exits.LOST}. Write "
                              "x.detach().numpy() where the values alone are meant")
        view = np.asarray(self.concrete()).view()
        view.flags.writeable = False
        return view

    item = methods.number

    def __repr__(self) -> str:
        if self.level > 0 and self.level not in live:
            return f"tensor({self.aval}, of a call that has ended)"
        base = bottom(self)
        if isinstance(base, Symbol):
            return f"tensor({base.aval}, traced)"
        base = np.asarray(base)
        prefix = "tensor(" if base.ndim else ""
        body = np.array2string(base, separator=", ", prefix=prefix)
        extra = "" if base.dtype.char in "dl?" else f", dtype={base.dtype}"
        made = self.grad_fn
        tail = f", grad_fn={made}" if made else ", requires_grad=True" if self.node else ""
        return f"tensor({body}{extra}{tail})"

    def __deepcopy__(self, memo: Any) -> Tensor:
        if not self.is_leaf:
            raise GraphError("only leaves can be copied deeply; use y.detach() or y.clone()")
        copy = Tensor(self.detach(), requires_grad=self.requires_grad)
        copy.grad = None if self.grad is None else Tensor(self.grad.detach())
        return copy

    def __reduce__(self) -> Any:
        if not self.is_leaf:
            raise GraphError("only leaves can be pickled; use y.detach()")
        return Tensor, (np.asarray(self.concrete()), self.requires_grad)

    # ---- ways out of the graph: errors for tracked values, open to others

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        if is_tracked(self):
            return exits.handed(self, dtype, copy)
        if copy:
            return np.array(self.concrete(), dtype=dtype)
        return self.numpy() if dtype in (None, self.dtype) else self.numpy().astype(dtype)

    def __float__(self) -> float:
        return exits.refuse("float") if is_tracked(self) else float(self.item())

    def __int__(self) -> int:
        return exits.refuse("int") if is_tracked(self) else int(self.item())

    def __trunc__(self) -> int:
        return int(self)

    def as_integer_ratio(self) -> tuple[int, int]:
        """The value as a fraction of integers, which `statistics` asks for."""
        return exits.refuse("ratio") if is_tracked(self) else float(self).as_integer_ratio()

    def __complex__(self) -> complex:
        return exits.refuse("complex") if is_tracked(self) else complex(self.item())

    def __index__(self) -> int:
        return exits.refuse("index") if is_tracked(self) else self.item().__index__()

    def __array_ufunc__(self, ufunc: Any, method: str, *args: Any, **kwargs: Any) -> Any:
        if args[0].__class__ is ndarray:
            check_caller()
        if method == "__call__" and not kwargs and ufunc in NUMPY:
            return NUMPY[ufunc](*args)
        key, function = (ufunc, ufunc) if method == "__call__" else (
            (ufunc, method), getattr(ufunc, method))
        if key is ufunc and key not in NUMPY and ufunc.__name__ in NUMPY:  # SciPy's, by name
            key = ufunc.__name__
        return exits.through(key, function, args, kwargs, Tensor)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        check_caller()
        return exits.through(function, function, args, kwargs, Tensor)

    # ---- gradients

    @property
    def grad(self) -> Tensor | None:
        """The gradient that backward() has accumulated; None if none has arrived."""
        try:
            return self._gradient
        except AttributeError:  # an unset slot: results do not pay for a gradient they never get
            return None

    @grad.setter
    def grad(self, value: Any) -> None:
        if value is not None:
            value = value if isinstance(value, Tensor) else Tensor(value)
            if value is self.grad:  # x.grad *= 2.0 stores what it changed
                return
            if value.shape != self.shape:
                raise ShapeError(f".grad has the shape of its tensor, {self.shape}, "
                                 f"not {value.shape}")
            value = value if value.dtype == self.dtype else value.astype(self.dtype)
            value = hooks.apart(value, Tensor, True, {id(bottom(value))})
        self._gradient = value

    def backward(self, gradient: Any = None, retain_graph: bool | None = None,
                 create_graph: bool = False) -> None:
        """Add to ``.grad`` of every leaf the gradient of this tensor, contracted with ``gradient``.

            leaf.grad += sum_k gradient_k d y_k / d leaf

        A result with one element needs no ``gradient``. The graph is freed unless ``retain_graph``;
        with ``create_graph`` the gradients are themselves recorded and can be differentiated again.
        Raises GraphError if nothing was recorded, the graph was freed, or a cotangent is missing.

        >>> x = ad.tensor(3.0, requires_grad=True)
        >>> (x * x).backward()
        >>> x.grad
        tensor(6.)
        """
        if self.node is None:
            raise GraphError("nothing to differentiate: no input of this value has "
                             "requires_grad=True, or it was computed under no_grad()")
        if self.level:
            raise GraphError("backward() of a value of ad.grad, ad.vjp or ad.jacobian, inside "
                             "their function: it would not reach the tensors outside. Return the "
                             "value; ad.grad inside the function gives an inner derivative")
        seed = self.seed(gradient, create_graph)
        with np.errstate(**QUIET):  # an infinite partial is meant; the doctor names it
            if create_graph:
                seed = seed if isinstance(seed, Tensor) else untracked(seed, self.level)
                leaves = sweep({self.node: seed}, retain=True, record=(Tensor, self.level))
            else:
                leaves = sweep({self.node: seed}, retain=bool(retain_graph))
        hooks.accumulate(leaves, create_graph, seed, Tensor)

    def seed(self, gradient: Any, recorded: bool) -> Any:
        """The cotangent that backward begins with, in the dtype of this tensor."""
        if gradient is None:
            if self.aval.size != 1:
                raise GraphError(
                    f"backward() of a result of shape {self.shape} needs the cotangent to contract "
                    f"it with: write y.sum().backward(), or y.backward(np.ones({self.shape}))")
            return scalars.written_beside(self, np.ones(self.shape, self.dtype)[()])
        if not isinstance(gradient, Box):
            gradient = as_value(gradient, None)
        elif not (recorded and is_tracked(gradient)):
            gradient = private(gradient.concrete())
        if gradient.shape != self.shape:
            raise ShapeError(f"backward(gradient): the cotangent has shape {gradient.shape}, the "
                             f"result {self.shape}; they must be equal")
        if gradient.dtype.kind == "c" and self.dtype.kind != "c":
            raise DTypeError("backward(gradient): a complex cotangent of a real result; take its "
                             "real part")
        same = gradient.dtype == self.dtype
        return conjugate(gradient if same else PUBLIC["astype"](gradient, self.dtype))

    def retain_grad(self) -> None:
        """Keep ``.grad`` of this result too, when backward() passes it.

        >>> x = ad.tensor(3.0, requires_grad=True)
        >>> y = x * x
        >>> y.retain_grad()
        >>> (y * 2.0).backward()
        >>> y.grad
        tensor(2.)
        """
        if self.node is None:
            raise GraphError("retain_grad() needs a tensor that a gradient reaches")
        if not self.is_leaf:
            hooks.retain(self)

    def register_hook(self, hook: Callable[[Any], Any]) -> hooks.Handle:
        """Call ``hook(gradient)`` when the gradient of this tensor is complete.

        What it returns replaces the gradient; None leaves it. Returns a handle with ``remove()``.

        >>> x = ad.tensor(3.0, requires_grad=True)
        >>> handle = x.register_hook(lambda gradient: 10.0 * gradient)
        >>> (x * x).backward()
        >>> x.grad
        tensor(60.)
        """
        if self.node is None:
            raise GraphError("a hook needs a tensor that a gradient reaches: requires_grad is "
                             "False")
        if not callable(hook):
            raise ArgumentError(f"a hook is a function of the gradient, not {hook!r}")
        return hooks.attach(self, hooks.shown(hook, Tensor))

    # ---- changes in place

    def replace(self, value: Any) -> None:
        """Hold another value, on a new node: what a graph has kept is never overwritten.

        A leaf of the user's stays a leaf; for anything else the write is the identity.
        """
        value = scalars.as_changeable(self, value) if self.level else value
        before, known = self.node, aval_of(value)
        self.value, self.aval = value, known
        self.forget_base()
        if before is None:
            return
        if isinstance(before, Leaf) and before.owner is not None:
            self.node = leaf(value, before.owner)
            self.node.hooks = before.hooks
        else:
            modes = MODES.get()
            written = constant(value, modes.whole or bool(modes.tapes))
            self.node = node(hooks.WRITTEN, (before, written), NO_PARAMS, None, known)
            hooks.follow(self, before)

    def interpret(self, row: Primitive, args: Sequence[Any], params: dict[str, Any]) -> Any:
        """Apply ``row`` one level down and record the step; a view knows whose memory it shares."""
        y = super().interpret(row, args, params)
        if row.alias and isinstance(args[0], Tensor):
            y.shares(args[0])
        return y

    def shares(self, base: Any) -> None:
        """Note the tensor whose memory this one shares, if it does."""
        value, source = self.value, base.value
        if value.__class__ is not ndarray or source.__class__ is not ndarray:
            if (isinstance(value, np.generic) or isinstance(source, np.generic)) and (
                    scalars.of_tensors(self)):  # PyTorch has views without axes, and of such
                self._base = weakref.ref(base)
            return
        if value.base is not None and (value.base is source or value.base is source.base):
            root = getattr(base, "_base", None)
            self._base = root if root is not None and root() is not None else weakref.ref(base)

    def copied_from(self, base: Any) -> None:
        """Note the tensor that a write would reach in NumPy, where this one has a copy."""
        if isinstance(base, Tensor) and self.aval.shape:
            self._base = weakref.ref(base)

    def forget_base(self) -> None:
        """From here on this tensor has memory of its own."""
        if hasattr(self, "_base"):
            del self._base

    def writable(self, what: str) -> None:
        """An error if a write would, in NumPy, reach another tensor of the same memory."""
        if switch.armed:
            methods.about_to_write(self)
        base = getattr(self, "_base", None)
        base = None if base is None else base()
        if base is not None:
            raise methods.aliased(what, f"a tensor of shape {base.shape}")
        if isinstance(self.value, Box):
            methods.writable(self.value, what)

    def check_leaf(self, what: str) -> None:
        """An error for a change of a leaf that wants a gradient, outside no_grad().

        A tracing of `ad.jit` is told first: what it has not met is an input, and then assigned to.
        """
        if switch.armed:
            methods.about_to_write(self)
        n = self.node
        if isinstance(n, Leaf) and n.owner is not None and self.level >= MODES.get().paused:
            raise GraphError(
                f"{what} on a leaf that requires a gradient: its history would be lost. Write it "
                "inside `with ad.no_grad():` (an update of a parameter), or x = x + ... (a new "
                "value)")

    def zero_(self) -> Tensor:
        """Set every element to 0, in place."""
        self.writable("x.zero_()")
        self.check_leaf("zero_()")
        if self.owns_buffer():
            self.value.fill(0)
        elif not isinstance(self.value, Box) and (
                self.node is None or self.level < MODES.get().paused):
            self.replace(np.zeros(self.shape, self.dtype)[()])
        else:
            self[...] = 0
        return self

    def fill_(self, value: Any) -> Tensor:
        """Set every element to ``value``, in place."""
        self[...] = value
        return self

    def copy_(self, other: Any) -> Tensor:
        """Take the values of ``other``, broadcast, in place."""
        self[...] = other
        return self

    def operand(self, z: Any, recorded: bool) -> Any:
        """The other operand of a write, as a plain array where no derivative flows through it."""
        plain = isinstance(z, Tensor) and z.level == self.level and (z.node is None or not recorded)
        return z.value if plain else z

    def __setitem__(self, key: Any, value: Any) -> None:
        self.writable("x[...] = v")
        self.check_leaf("x[...] = v")
        recorded = self.level >= MODES.get().paused
        value = self.operand(value, recorded)
        unrecorded = self.node is None or not recorded
        if not unrecorded or isinstance(value, Box) or isinstance(self.value, Box):
            methods.set_item(self, key, value)
            return
        if methods.is_plain(key) and self.owns_buffer() and methods.wrote(self.value, key, value):
            return
        y = PUBLIC["setitem"](self.value, key, value)
        self.replace(y if y.dtype == self.dtype else y.astype(self.dtype))

    def change(self, name: str, ufunc: Any, z: Any) -> Tensor:
        """``self op= z``: a new value, in the old buffer if nobody else can see that."""
        self.check_leaf(f"in-place {name}")
        recorded = self.level >= MODES.get().paused
        z = self.operand(z, recorded)
        boxed = isinstance(z, Box) or isinstance(self.value, Box)
        if boxed or (recorded and self.node is not None):
            methods.rebind(self, methods.fitted(self, PUBLIC[name](self, z), name), name)
        elif ufunc is not None and self.owns_buffer() and methods.fits_into(self, z):
            ufunc(self.value, z, out=self.value)
            self.forget_base()
        else:
            self.replace(methods.fitted(self, PUBLIC[name](self.value, z), name))
        return self

    def owns_buffer(self) -> bool:
        """Whether only this tensor, with its idle leaf, can reach its buffer."""
        if not COUNTS or self.value.__class__ is not ndarray or self.value.base is not None:
            return False
        held = SOLE
        if self.node is not None:
            if sys.getrefcount(self.node) != SOLE or not isinstance(self.node, Leaf):
                return False
            held += self.node.value is self.value
        return sys.getrefcount(self.value) == held


def _in_place(name: str) -> Any:
    ufunc = None if name == "matmul" else getattr(np, name)
    return lambda self, z: PUBLIC[name](self, z) if methods.is_scalar(self) else self.change(
        name, ufunc, z)


def _in_place_method(name: str) -> Any:
    row = methods.HABITS[name]

    def method(self: Tensor, z: Any) -> Tensor:
        self.writable(f"x.{name}_(z)")
        return self.change(row, getattr(np, row), z)
    return method


for _operator, _name in methods.INPLACE.items():
    setattr(Tensor, f"__{_operator}__", _in_place(_name))
for _name in ("add", "sub", "mul", "div"):  # PyTorch's x.add_(z)
    setattr(Tensor, f"{_name}_", _in_place_method(_name))


def _detached(x: Box) -> Any:
    """The same value as a constant, for Boxes that are not Tensors."""
    y = PUBLIC["stop_gradient"](x)
    return y if isinstance(y, Box) else untracked(y)


setattr(Box, "detach", _detached)  # noqa: B010 - core knows no Tensor


# ---- helpers

def tensor(data: Any, requires_grad: bool = False, dtype: Any = None) -> Tensor:
    """A Tensor with a copy of ``data``: numbers, nested lists, arrays or untracked tensors.

    >>> ad.tensor([1, 2])
    tensor([1, 2])
    """
    if (value := methods.symbol_of(data, dtype)) is None:
        return Tensor(data, requires_grad, dtype)
    return untracked(value).requires_grad_(requires_grad)


def as_value(data: Any, dtype: Any) -> Any:
    """A private array of ``data``; a NumPy scalar if it is 0-d."""
    try:
        value = np.array(data, dtype=dtype)
    except EscapeError:
        raise escape("ad.tensor([x, y])",
                     "ad.array([x, y]), which joins tracked values and numbers") from None
    except ValueError as e:
        raise ShapeError(f"ad.tensor: the nested lists do not form an array ({e})") from None
    if value.dtype.kind not in "fciub":
        raise DTypeError(f"ad.tensor: no numbers: {value.dtype} from {type(data).__name__}")
    return value[()] if value.ndim == 0 else value


def untracked(value: Any, level: int = 0) -> Tensor:
    """A Tensor that holds ``value`` itself, outside every graph."""
    y = new(Tensor)
    y.value, y.aval = value, aval_of(value)
    y.level, y.node = level, None
    if switch.armed:
        methods.born(y)
    return y


def _count_sole() -> int:
    """What getrefcount says of a value that one slot holds, on this interpreter."""
    t = Tensor(np.zeros(1))
    return sys.getrefcount(t.value)


COUNTS = methods.COUNTS
SOLE = _count_sole()
