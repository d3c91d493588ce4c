"""Complex steps: where a derivative is a product, where only its real part goes on, where neither.

The adjoint of a complex v is dL/dRe v - i dL/dIm v. By a step that is holomorphic it is multiplied,
as that of a real one is. A real step of a complex argument has a partial of that kind too, and the
real part of a product is its tangent; a complex step of a real argument sends the real part back.
A conjugate is no product at all: what goes back is told by the Label, or by the name of the step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .flows import EngineRules

if TYPE_CHECKING:
    from .record import Record, Step

PRODUCT = r"{dy} \odot "  # begins a pullback that is a product with what follows


def is_complex(step: Step) -> bool:
    """Whether a step has complex values."""
    return step.dtype.kind == "c"


def is_holomorphic(step: Step, position: int) -> bool:
    """Whether the derivative by an input is a product, of complex numbers if that is complex."""
    if not is_complex(step.inputs[position]) or step.is_hook:
        return True
    if not is_complex(step):
        return False
    one = np.exp(1j * np.arange(1.0, step.size + 1.0)).reshape(step.shape).astype(step.dtype)[()]
    with np.errstate(all="ignore"):
        parts = [EngineRules().pulled(step, dy)[position] for dy in (one, 1j * one)]
    return parts[0] is None or np.allclose(1j * np.asarray(parts[0]), np.asarray(parts[1]),
                                           rtol=1e-4, equal_nan=True)


def has_partial(step: Step, position: int) -> bool:
    """Whether there is a partial to multiply with: everywhere but where conjugates are taken."""
    return not is_complex(step.inputs[position]) or not is_complex(step) or (
        is_holomorphic(step, position))


def partial_template(step: Step, position: int) -> str:
    """The Label's partial by an input, if it holds; of a complex one the pullback may tell it."""
    texts, told = step.row.label.partials, step.row.label.pullbacks
    found = texts[position] if position < len(texts) and step.picked is None else ""
    if not found or not is_complex(step.inputs[position]):
        return found
    if step.row.elementwise and position < len(told):
        return found if not told[position] else told[position].removeprefix(PRODUCT) if (
            told[position].startswith(PRODUCT)) else ""
    return found if is_holomorphic(step, position) else ""


def holds(step: Step, position: int, template: str) -> bool:
    """Whether the Label's pullback is what goes back to an input.

    Of an elementwise step it is for complex arguments, and those that are no product.
    """
    if step.row.elementwise:
        return is_complex(step.inputs[position]) and not template.startswith(PRODUCT)
    return is_holomorphic(step, position)


def takes_real_part_back(step: Step, position: int) -> bool:
    """Whether only the real part of what comes back reaches an input."""
    return is_complex(step) and not is_complex(step.inputs[position])


def takes_real_part(step: Step) -> bool:
    """Whether only the real part of the tangents of the inputs goes on."""
    return not is_complex(step) and any(is_complex(s) for s in step.inputs if s.differentiated)


def complex_notes(record: Record, *, given: bool = False) -> list[str]:
    """How the adjoints of complex steps are to be read."""
    names = [s.name for s in record.steps if is_complex(s)]
    if not names:
        return []
    said = (f"{names[0]} is complex: its adjoint, and a partial by it, is the derivative along "
            "the real axis minus i times the one along the imaginary axis. ad.grad gives the "
            "conjugate.")
    found = [said]
    if is_complex(record.output):
        y = record.output.name
        found.append(f"{y} is complex: these are the derivatives of Re(u {y}), u the cotangent."
                     if given else f"{y} is complex: these are the derivatives of its real part; "
                     "cotangent=-1j gives those of its imaginary part.")
    return found
