"""What a block switches on for its context (thread or async task): no_grad, tape, sites."""

from __future__ import annotations

import functools
import sys
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from adjoint.core import reverse
from adjoint.core.box import new_level
from adjoint.core.node import MODES, Mode, Node, switch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import CodeType

HERE = str(Path(__file__).parent)
OURS: dict[str, bool] = {}  # whether a file is of this package
# Of the parameters that layers make (`ad.default_dtype`).
DEFAULT_DTYPE: ContextVar[np.dtype[Any]] = ContextVar(
    "adjoint.default_dtype", default=np.dtype(np.float32))  # noqa: B039 - a dtype is immutable


class GradMode(Mode):
    """A block, or a decorator, that says whether operations are recorded."""

    def __call__(self, f: Callable[..., Any]) -> Callable[..., Any]:
        """Run ``f`` in a block of its own, each time."""
        @functools.wraps(f)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with GradMode(self.change):
                return f(*args, **kwargs)
        return wrapped


def no_grad() -> GradMode:
    """A block in which nothing is recorded: what is computed there is a constant, in both modes.

    Inside a function under `grad` it holds for the values of that function too; a transformation
    that begins inside the block records as usual.

    >>> x = ad.tensor(2.0, requires_grad=True)
    >>> with ad.no_grad():
    ...     y = x * x
    >>> y.requires_grad
    False
    """
    return GradMode(lambda modes: modes._replace(paused=new_level()))


def enable_grad() -> GradMode:
    """A block in which operations are recorded, inside a `no_grad` block.

    >>> x = ad.tensor(2.0, requires_grad=True)
    >>> with ad.no_grad(), ad.enable_grad():
    ...     y = x * x
    >>> y.requires_grad
    True
    """
    return GradMode(lambda modes: modes._replace(paused=0))


def set_grad_enabled(mode: bool) -> GradMode:
    """`enable_grad` or `no_grad`, by a boolean.

    >>> with ad.set_grad_enabled(False):
    ...     ad.is_grad_enabled()
    False
    """
    return enable_grad() if mode else no_grad()


def is_grad_enabled() -> bool:
    """Whether operations on tensors are recorded here.

    >>> ad.is_grad_enabled()
    True
    """
    return MODES.get().paused == 0


def strict() -> GradMode:
    """A block in which 0 * inf is NaN in derivatives too, as IEEE 754 has it.

    Elsewhere a zero downstream cancels what is not finite upstream (DESIGN 6), so that the branch
    that `where` did not take contributes nothing. Holds in sweeps and in forward mode, for this
    thread or task; also a decorator.

    >>> f = lambda x: np.where(x > 0, np.sqrt(x), 0.0)
    >>> ad.grad(f)(0.0)
    0.0
    >>> with ad.strict():
    ...     ad.grad(f)(0.0)
    nan
    """
    return GradMode(lambda modes: modes._replace(strict=True))


DETERMINISTIC: ContextVar[bool] = ContextVar("adjoint.deterministic", default=False)


class deterministic(Mode):  # noqa: N801 - a function to its users, like open
    """A block in which compiled functions call no BLAS, whose sums may depend on its threads.

    The products of matrices are the library's own then: the same bits on any number of threads.
    Eager products are NumPy's everywhere.

    >>> f = ad.jit(lambda x: x @ x)
    >>> with ad.deterministic():
    ...     f(np.eye(2))
    array([[1., 0.],
           [0., 1.]])
    """

    def __init__(self) -> None:
        super().__init__(lambda modes: modes)

    def __enter__(self) -> None:
        super().__enter__()
        self.token = DETERMINISTIC.set(True)

    def __exit__(self, *error: object) -> None:
        DETERMINISTIC.reset(self.token)
        super().__exit__(*error)


class tape(Mode):  # noqa: N801 - a function to its users, like open
    """A block that holds every Node made inside, in order, each with its value and its line.

    >>> x = ad.tensor(2.0, requires_grad=True)
    >>> with ad.tape() as nodes:
    ...     y = np.log(x) * x
    >>> [n.prim.name for n in nodes]
    ['log', 'multiply']
    """

    def __init__(self) -> None:
        nodes: list[Node] = []
        self.nodes = nodes  # the function below must not hold self: that would be a cycle
        super().__init__(lambda m: m._replace(tapes=(*m.tapes, nodes), site=m.site or site))

    def __enter__(self) -> list[Node]:
        super().__enter__()
        return self.nodes


def sites() -> Mode:
    """A block in which every Node knows the line that asked for it: ``line_of(node.site)``.

    >>> x = ad.tensor(2.0, requires_grad=True)
    >>> with ad.sites():
    ...     y = x * x
    >>> ad.line_of(y.node.site)[1]  # of this example
    2
    """
    return Mode(lambda m: m._replace(site=site))


def site() -> tuple[CodeType, int] | None:
    """The code and the instruction of the first frame outside this package."""
    frame = sys._getframe(1)
    while frame is not None:
        code = frame.f_code
        ours = OURS.get(code.co_filename)
        if ours is None:
            ours = OURS[code.co_filename] = code.co_filename.startswith(HERE)
        if not ours:
            return code, frame.f_lasti
        frame = frame.f_back
    return None


def line_of(where: tuple[CodeType, int]) -> tuple[str, int]:
    """The file and line of a Node's ``site``; only printing pays for finding it.

    >>> with ad.tape() as nodes:
    ...     y = ad.tensor(2.0, requires_grad=True) * 3.0
    >>> ad.line_of(nodes[0].site)[1]
    2
    """
    code, instruction = where
    for start, end, line in code.co_lines():
        if start <= instruction < end and line is not None:
            return code.co_filename, line
    return code.co_filename, code.co_firstlineno


def sweep(seeds: Mapping[Any, Any], retain: bool = False, record: Any = None) -> dict[Any, Any]:
    """The engine's sweep; where a doctor watches, under its eyes."""
    watch = MODES.get().watch if switch.armed else None
    return (reverse.sweep if watch is None else watch.sweep)(seeds, retain, record)
