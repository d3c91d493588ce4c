"""The stages of a compiled function as text, for `Jitted.show`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from adjoint.modes import line_of

from .executing import native
from .ready import Ready

if TYPE_CHECKING:
    from collections.abc import Callable

    from .compiled import Compiled
    from .jit_row import JitGraph

FEW = 4  # numbers of a constant that are shown


def graph(g: JitGraph) -> str:
    """The operations in order, with the lines that asked for them."""
    numbers = {n: k for k, n in enumerate((*g.inputs, *g.nodes))}

    def told(n: Any) -> str:
        if n in numbers:
            return f"%{numbers[n]}"
        return repr(n.value) if n.aval.size <= FEW else f"constant {n.aval}"
    lines = [f"%{numbers[n]} = input: {n.aval}" for n in g.inputs]
    for n in g.nodes:
        told_params = "".join(f", {k}={v}" for k, v in n.params.items() if k != "graph")
        line = f"%{numbers[n]} = {n.prim}({', '.join(map(told, n.inputs))}{told_params}): {n.aval}"
        lines.append(line + (f"    # {where(n.site)}" if n.site else ""))
    return "\n".join([*lines, f"return {', '.join(map(told, g.outputs))}"])


def where(site: Any) -> str:
    """A site as file name and line."""
    name, line = line_of(site)
    return f"{Path(name).name}:{line}"


def program(g: JitGraph) -> str:
    """The statements."""
    return g.program.show()


def compiled(g: JitGraph) -> Compiled | None:
    """The machine code of a Graph, if it has any."""
    found = g.executable.compiled if native() else None
    return found.whole() if isinstance(found, Ready) else found


def of_compiled(what: Callable[[Compiled], str]) -> Callable[[JitGraph], str]:
    """A stage that exists where there is machine code."""
    def shown(g: JitGraph) -> str:
        found = compiled(g)
        return "NumPy runs this program: there is no machine code here" if found is None else (
            what(found))
    return shown


STAGES: dict[str, Callable[[JitGraph], str]] = {
    "graph": graph, "program": program,
    "kernels": of_compiled(lambda c: c.layout.show()),
    "memory": of_compiled(lambda c: c.show()),
    "llvm": of_compiled(lambda c: c.text),
    "asm": of_compiled(lambda c: c.library.assembly())}
