"""The tree of a network: Module, which finds parameters in its attributes, and Sequential.

A parameter is an attribute that is a leaf Tensor with ``requires_grad``, and stays one while it is
frozen (``requires_grad = False``); any other leaf Tensor is a buffer, saved but not trained; the
result of an operation is neither. A submodule is an attribute that is a Module. All are also found
in lists, tuples and dicts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np

from adjoint.creation import zeros_like
from adjoint.errors import ArgumentError, ShapeError
from adjoint.exits import is_concrete
from adjoint.tensors import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping


class Module:
    """A part of a network: subclass it, set its parts as attributes, and write ``forward``.

    >>> class Scale(ad.nn.Module):
    ...     def __init__(self):
    ...         self.factor = ad.tensor(2.0, requires_grad=True)
    ...     def forward(self, x):
    ...         return self.factor * x
    >>> Scale()(np.array([1.0, 2.0])).tolist()
    [2.0, 4.0]
    >>> [name for name, _ in Scale().named_parameters()]
    ['factor']
    """

    training = True

    def __new__(cls, *_: Any, **__: Any) -> Self:
        """A module with its record of parameters: to ask for them changes no attribute."""
        module = super().__new__(cls)
        vars(module)["_trained_names"] = {}
        return module

    def __setattr__(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)
        trained = self._trained()
        for n in [n for n in trained if n == name or n.startswith(f"{name}.")]:
            del trained[n]
        trained |= {n: None for n, v in _found(name, value)
                    if isinstance(v, Tensor) and v.is_leaf and v.requires_grad}

    def _trained(self) -> dict[str, None]:
        """The names of the tensors here that have been parameters: a frozen one is one still.

        A dict, of which a compiled function may change the keys.
        """
        return vars(self)["_trained_names"]

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The result of the module; to be written by the subclass."""
        raise ArgumentError(f"{type(self).__name__} has no forward(): write "
                            "`def forward(self, x):` in the class")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """What `forward` gives."""
        return self.forward(*args, **kwargs)

    # ---- what is in it

    def named_modules(self) -> Iterator[tuple[str, Module]]:
        """This module and all below it, each once, with their names: ``""``, ``"encoder.0"``."""
        stack: list[tuple[str, Module]] = [("", self)]
        seen: set[int] = set()
        while stack:
            name, module = stack.pop()
            if id(module) in seen:
                continue
            seen.add(id(module))
            yield name, module
            prefix = f"{name}." if name else ""
            below = [(prefix + n, v) for n, v in module._parts() if isinstance(v, Module)]
            stack += below[::-1]

    def modules(self) -> Iterator[Module]:
        """This module and all below it, each once."""
        return (module for _, module in self.named_modules())

    def children(self) -> Iterator[Module]:
        """The modules directly below this one."""
        return (v for _, v in self._parts() if isinstance(v, Module))

    def _parts(self) -> Iterator[tuple[str, Any]]:
        """The Tensors and Modules among the attributes, in the order in which they were set."""
        for name, value in vars(self).items():
            yield from _found(name, value)

    def _named_tensors(self) -> Iterator[tuple[str, Tensor, bool]]:
        """The leaf tensors with their names, and whether they are parameters."""
        for name, module in self.named_modules():
            prefix, trained = f"{name}." if name else "", module._trained()
            for n, value in module._parts():
                if isinstance(value, Tensor) and value.is_leaf:
                    if value.requires_grad:
                        trained[n] = None
                    yield prefix + n, value, n in trained

    def named_parameters(self) -> Iterator[tuple[str, Tensor]]:
        """The parameters with their names, each once, in the order in which they were set.

        Frozen ones (``requires_grad = False``) are among them, so that they can be thawed.
        """
        seen: set[int] = set()
        for name, value, trained in self._named_tensors():
            if trained and id(value) not in seen:
                seen.add(id(value))
                yield name, value

    def parameters(self) -> Iterator[Tensor]:
        """The parameters, each once, frozen ones too: what an optimiser is given."""
        return (p for _, p in self.named_parameters())

    # ---- saving and loading

    def state_dict(self) -> dict[str, Tensor]:
        """All tensors by name, outside the graph: a snapshot that later training does not change.

        Nor does a change of the snapshot reach the module.

        >>> list(ad.nn.Linear(2, 1).state_dict())
        ['weight', 'bias']
        """
        state = {name: value.detach() for name, value, _ in self._named_tensors()}
        for value in state.values():
            value.forget_base()  # it may be written to: memory that two tensors hold is copied then
        return state

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> None:
        """Take the values of ``state`` (arrays or tensors by name), cast to the dtypes here.

        Raises ArgumentError for names that are missing or unknown (only shapes matter with
        ``strict=False``), and ShapeError for shapes that differ; nothing is changed then.
        """
        own = {name: value for name, value, _ in self._named_tensors()}
        missing = [n for n in own if n not in state]
        unknown = [n for n in state if n not in own]
        if strict and (missing or unknown):
            told = [f"{what}: {', '.join(names)}" for what, names in (
                ("missing", missing), ("not in this module", unknown)) if names]
            raise ArgumentError(f"load_state_dict of {type(self).__name__}: {'; '.join(told)}. The "
                                "names must be the same; strict=False takes those that are")
        values = {n: loaded(state[n]) for n in own if n in state}
        wrong = [f"{n} is {own[n].shape} here and {v.shape} there" for n, v in values.items()
                 if v.shape != own[n].shape]
        if wrong:
            raise ShapeError(f"load_state_dict of {type(self).__name__}: {'; '.join(wrong)}. Make "
                             "the module with the sizes that the saved one had")
        for name, value in values.items():
            own[name].data = value.astype(own[name].dtype)

    # ---- settings

    def train(self, mode: bool = True) -> Module:
        """Set every module to training, or to evaluation with ``False``; returns the module."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Module:
        """Set every module to evaluation; returns the module."""
        return self.train(mode=False)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all parameters, or with ``set_to_none=False`` make them zeros."""
        for p in self.parameters():
            p.grad = None if set_to_none or p.grad is None else zeros_like(p)

    def describe(self) -> str:
        """What stands between the brackets of the printed form; layers override it."""
        return ""

    def __repr__(self) -> str:
        inner = [f"  ({name}): " + repr(v).replace("\n", "\n  ") for name, v in self._parts()
                 if isinstance(v, Module)]
        body = [self.describe()] * bool(self.describe())
        if not inner:
            return f"{type(self).__name__}({', '.join(body)})"
        return "\n".join([f"{type(self).__name__}({', '.join(body)}", *inner, ")"])


def loaded(value: Any) -> Any:
    """A value to be taken over, outside the graph: an array, or in a compiled function a tensor."""
    value = value.detach() if isinstance(value, Tensor) else value
    return value if isinstance(value, Tensor) and not is_concrete(value) else np.asarray(value)


def _found(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Tensors and Modules in an attribute: itself, or the items of a container."""
    if isinstance(value, (Tensor, Module)):
        yield name, value
    elif isinstance(value, (list, tuple)):
        for i, v in enumerate(value):
            yield from _found(f"{name}.{i}", v)
    elif isinstance(value, dict):
        for key, v in value.items():
            yield from _found(f"{name}.{key}", v)


class Sequential(Module):
    """Modules (or plain functions) one after the other.

        y = f_n(... f_2(f_1(x)))

    >>> net = ad.nn.Sequential(ad.nn.Linear(3, 4), ad.nn.Tanh(), ad.nn.Linear(4, 2))
    >>> net(np.ones((5, 3))).shape
    (5, 2)
    >>> [name for name, _ in net.named_parameters()]
    ['0.weight', '0.bias', '2.weight', '2.bias']
    """

    def __init__(self, *modules: Module | Callable[[Any], Any]) -> None:
        for i, m in enumerate(modules):
            if not callable(m):
                parts = "parts.values()" if isinstance(m, dict) else "parts"
                raise ArgumentError(f"Sequential: part {i} is {m!r}; parts are modules and "
                                    f"functions. Several of them are given with a star: "
                                    f"Sequential(*{parts})")
            if isinstance(m, type):
                raise ArgumentError(f"Sequential: part {i} is the class {m.__name__}; write "
                                    f"{m.__name__}()")
        self.steps = modules

    def _parts(self) -> Iterator[tuple[str, Any]]:
        """Parts are named by number, as in PyTorch; a subclass may have attributes beside them."""
        yield from ((str(i), m) for i, m in enumerate(self.steps) if isinstance(m, Module))
        for name, value in vars(self).items():
            if name != "steps":
                yield from _found(name, value)

    def forward(self, x: Any) -> Any:
        """Apply the parts in order."""
        for step in self.steps:
            x = step(x)
        return x

    def __getitem__(self, key: int | slice) -> Any:
        return Sequential(*self.steps[key]) if isinstance(key, slice) else self.steps[key]

    def __len__(self) -> int:
        return len(self.steps)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.steps)
