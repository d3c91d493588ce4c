"""The base of optimisers: which tensors, in which groups, with which settings and state.

A method writes one function, `Optimizer.change`: the step that one parameter takes, from its value,
its gradient and its state, all arrays. The base subtracts that in place under ``no_grad``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from adjoint.creation import zeros_like
from adjoint.errors import ArgumentError, GraphError, ShapeError
from adjoint.modes import no_grad
from adjoint.tensors import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

State = dict[str, Any]


class Optimizer:
    """Changes parameters after ``backward()``: subclass it and write ``change``.

    ``parameters`` are leaf tensors, or dicts ``{"params": [...], "lr": ...}`` with settings of
    their own; ``settings`` are those of all. They can be read and set in ``param_groups``. Frozen
    parameters (``requires_grad = False``) may be among them, and wait. Raises ArgumentError if
    there is no parameter, or one stands there twice, and GraphError for a tensor that is no leaf,
    or if no parameter at all requires a gradient.
    """

    def __init__(self, parameters: Iterable[Any], settings: dict[str, Any]) -> None:
        if isinstance(parameters, Tensor):
            raise ArgumentError(f"{type(self).__name__} takes a list of tensors; write [x] for one")
        if not hasattr(parameters, "__iter__"):
            raise ArgumentError(f"{type(self).__name__} takes the tensors to change, as "
                                f"net.parameters() of a net, not {type(parameters).__name__}")
        given = list(parameters)
        if not given:
            raise ArgumentError(f"{type(self).__name__}: there is no parameter to change. Give "
                                "net.parameters() of a net whose tensors require gradients, as a "
                                "list if it is used twice")
        self.settings = settings
        self.param_groups: list[dict[str, Any]] = []
        self.state: dict[Tensor, State] = {}
        for group in given if isinstance(given[0], dict) else [{"params": given}]:
            self.add_param_group(group)
        if not any(p.requires_grad for p in self.parameters()):
            raise GraphError(f"{type(self).__name__}: none of the parameters requires a gradient "
                             "(requires_grad=False); write ad.tensor(data, requires_grad=True)")

    def add_param_group(self, group: dict[str, Any]) -> None:
        """Change these parameters too: ``{"params": [...], "lr": ...}``, as in the constructor."""
        added, seen = self.group(group), {id(p) for p in self.parameters()}
        for p in added["params"]:
            if id(p) in seen:
                raise ArgumentError(f"{type(self).__name__}: a parameter of shape {p.shape} is "
                                    "given twice, and would be changed twice")
            seen.add(id(p))
        self.param_groups.append(added)

    def group(self, given: dict[str, Any]) -> dict[str, Any]:
        """A group with all its settings, checked."""
        name = type(self).__name__
        unknown = [k for k in given if k != "params" and k not in self.settings]
        if unknown or "params" not in given:
            raise ArgumentError(f"{name}: a group is a dict with 'params' and any of "
                                f"{', '.join(self.settings)}, not {', '.join(map(str, given))}")
        params = given["params"]
        params = [params] if isinstance(params, Tensor) else list(params)
        group = {**self.settings, **given, "params": params}
        for p in group["params"]:
            if not isinstance(p, Tensor):
                raise ArgumentError(f"{name} changes tensors, not {type(p).__name__}; write "
                                    "ad.tensor(data, requires_grad=True)")
            if not p.is_leaf:
                raise GraphError(f"{name}: a tensor of shape {p.shape} is the result of an "
                                 "operation; parameters are leaves that require gradients")
        self.check(group)
        return group

    def check(self, group: dict[str, Any]) -> None:
        """An error for a setting that cannot be meant: all but those of subclasses are >= 0."""
        for name in ("lr", "weight_decay", "momentum", "eps"):
            value = group.get(name, 0.0)
            if not isinstance(value, (int, float, np.number)) or not value >= 0.0:
                raise ArgumentError(f"{type(self).__name__}: {name} is a number of at least 0, not "
                                    f"{value!r}")

    def parameters(self) -> list[Tensor]:
        """The parameters of all groups, in order."""
        return [p for group in self.param_groups for p in group["params"]]

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all parameters, as one does before every ``backward()``.

        With ``set_to_none=False`` they become zeros, and `step` goes on with its momentum.
        """
        for p in self.parameters():
            p.grad = None if set_to_none or p.grad is None else zeros_like(p)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Change every parameter that has a gradient; one without keeps its value and its state.

        ``closure``, if given, computes the loss and its gradients first, and the loss is returned.
        """
        loss = closure() if closure is not None else None
        with no_grad():
            for group in self.param_groups:
                for p in group["params"]:
                    if (gradient := p.grad) is not None:
                        state = self.state.get(p)
                        if state is None:
                            state = self.state[p] = {}
                        p -= self.change(p, gradient.value, state, group)
        return loss

    def change(self, p: Tensor, g: Any, state: State, group: dict[str, Any]) -> Any:
        """What is subtracted from ``p``, given its gradient ``g`` as an array that is not changed.

        ``state`` is a dict of the parameter, empty at its first step; ``group`` has the settings.
        """
        raise ArgumentError(f"{type(self).__name__} has no change(): write `def change(self, p, g, "
                            "state, group):` that returns what is subtracted from p")

    # ---- saving and loading

    def state_dict(self) -> dict[str, Any]:
        """Settings and state, with parameters as numbers in their order: arrays and numbers only.

        It is a snapshot: later steps do not change it.
        """
        numbers = {id(p): n for n, p in enumerate(self.parameters())}
        return {
            "state": {numbers[id(p)]: {k: _copied(v) for k, v in s.items()}
                      for p, s in self.state.items()},
            "param_groups": [group | {"params": [numbers[id(p)] for p in group["params"]]}
                             for group in self.param_groups]}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Take the settings and state that `state_dict` gave, for parameters of the same shapes.

        Raises ArgumentError for another structure, ShapeError for other shapes; nothing is changed
        then.
        """
        name = type(self).__name__
        if not {"state", "param_groups"} <= saved.keys():
            raise ArgumentError(f"load_state_dict of {name}: state_dict() has the keys state and "
                                f"param_groups, this has {', '.join(map(str, saved)) or 'none'}")
        groups = saved["param_groups"]
        sizes = [len(g["params"]) for g in self.param_groups]
        if [len(g["params"]) for g in groups] != sizes:
            raise ArgumentError(f"load_state_dict of {name}: the groups have {sizes} parameters "
                                f"here and {[len(g['params']) for g in groups]} there")
        parameters = self.parameters()
        order = [n for g in groups for n in g["params"]]
        state: dict[Tensor, State] = {}
        for p, n in zip(parameters, order, strict=True):
            found = saved["state"].get(n)
            if found is None:
                continue
            for k, v in found.items():
                if isinstance(v, np.ndarray) and v.shape != p.shape:
                    raise ShapeError(f"load_state_dict of {name}: {k} of parameter {n} has shape "
                                     f"{v.shape}, the parameter {p.shape}")
            state[p] = {k: _copied(v) for k, v in found.items()}
        for group, other in zip(self.param_groups, groups, strict=True):
            group.update({k: v for k, v in other.items() if k != "params"})
        self.state = state

    def __repr__(self) -> str:
        lines = [f"  {sum(p.aval.size for p in g['params'])} numbers in {len(g['params'])} "
                 "tensors: "
                 + ", ".join(f"{k}={v}" for k, v in g.items() if k != "params")
                 for g in self.param_groups]
        return "\n".join([f"{type(self).__name__}(", *lines, ")"])


def _copied(value: Any) -> Any:
    return value.copy() if isinstance(value, np.ndarray) else value
