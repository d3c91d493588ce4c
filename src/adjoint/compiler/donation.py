"""Arguments whose memory a compiled function may write its results to (`donate_argnums`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from adjoint.core.reverse import Tracked
from adjoint.errors import MutationError

from .pool import Memory

if TYPE_CHECKING:
    from collections.abc import Sequence

    from adjoint.tensors import Tensor


class Donated(Tracked):
    """What a tensor holds whose memory was given away: whoever asks is told so."""

    __slots__ = ()

    @property
    def value(self) -> Any:  # pyright: ignore[reportIncompatibleVariableOverride] - there is none
        """Always an error."""
        raise MutationError(
            f"this tensor ({self.aval}) was given away: a function compiled with donate_argnums "
            "has got it as an argument, and may have written its result there. Use the result, or "
            "pass x.clone()")


def donate(t: Tensor) -> None:
    """Let a tensor hold nothing any more."""
    gone = Donated()
    gone.aval, gone.level, gone.node = t.aval, -1, None
    t.value, t.node = gone, None


def apart(given: Sequence[Any], others: Sequence[Any]) -> bool:
    """Whether the arrays ``given`` have memory of their own, and no other array has part of it.

    >>> from adjoint.compiler.donation import apart
    >>> x, z = np.ones(4), np.ones(4)
    >>> apart([x], [z]), apart([x], [z[:2]])
    (True, True)
    >>> apart([x], [x]), apart([x], [x[:2]]), apart([x[:2]], [z])
    (False, False, False)
    """
    seen: list[Any] = []
    for a in (*given, *others):
        if a.__class__ is not np.ndarray:
            return False
        mine = len(seen) < len(given)
        if mine and a.base is not None and a.base.__class__ is not Memory:
            return False
        if any(np.may_share_memory(a, b) for b in (seen if mine else seen[:len(given)])):
            return False
        seen.append(a)
    return True
