"""A compiled function in a recorded graph, as the steps that it was traced from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from adjoint.core.box import Level, bind
from adjoint.core.node import MODES
from adjoint.core.primitive import CONSTANT
from adjoint.core.reverse import Tracked, tracked

if TYPE_CHECKING:
    from collections.abc import Sequence


def opened(nodes: Sequence[Any]) -> bool:
    """Put recorded steps in the place of each compiled function among ``nodes``; False for none.

    The steps have the lines of the function. Whoever holds a result of it holds the last of them.
    """
    found = [n for n in nodes if n.inputs and getattr(n.params.get("graph"), "stepwise", False)]
    readers: dict[Any, list[Any]] = {n: [] for n in found}
    for reader in nodes:
        for source in {*(reader.inputs or ())} & readers.keys():
            readers[source].append(reader)
    for n in found:
        outs = recorded(n)
        for reader in readers[n]:  # each picks one result
            become(reader, outs[reader.params["index"]])
    return bool(found)


def recorded(n: Any) -> list[Any]:
    """The results of a compiled function, each as the Node of a step, made between its Nodes."""
    graph, tape = n.params["graph"], list[Any]()
    with Level() as level:
        env = {i: source.value if source.prim is CONSTANT else
               tracked(Tracked, source.value, level, source)
               for i, source in zip(graph.inputs, n.inputs, strict=True)}
        outs = run(graph, env, tape)
    for k, step in enumerate(tape, 1):
        step.index = n.index + k / (len(tape) + 1)
    return [y.node if isinstance(y, Tracked) else None for y in outs]


def run(graph: Any, env: dict[Any, Any], tape: list[Any]) -> list[Any]:
    """The results of a Graph whose inputs are in ``env``, recorded with the lines of its steps."""
    def value(n: Any) -> Any:
        return env.get(n, n.value)
    before = MODES.get()
    modes = before._replace(paused=0, tapes=(*before.tapes, tape))
    try:
        for n in graph.nodes:
            MODES.set(modes._replace(site=lambda n=n: n.site))
            env[n] = bind(n.prim, [value(i) for i in n.inputs], n.params)
        return [+value(o) for o in graph.outputs]  # a Node of its own for each
    finally:
        MODES.set(before)


def become(n: Any, other: Any) -> None:
    """Let a Node be what another one is; a constant result needs no step."""
    if other is not None:
        n.prim, n.inputs, n.params = other.prim, other.inputs, other.params
        n.value, n.site = other.value, other.site
