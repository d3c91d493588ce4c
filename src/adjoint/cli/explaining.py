"""`adjoint explain`: the derivative of a formula, or of a function, shown step by step.

`add_command` says what may be typed and `run_explain` does it: the program (`subject`), one run of
it, and a `Part` for each thing that was asked for.
"""

from __future__ import annotations

import argparse
import re
import sys
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import adjoint as ad
from adjoint import drawing
from adjoint.drawing.files import ended
from adjoint.errors import AdjointError, ArgumentError, FormatError
from adjoint.health.report import HEADS
from adjoint.show import numbers, words
from adjoint.show.cells import Cell, Column
from adjoint.show.formula import Formula, parse, parse_values
from adjoint.show.formula_words import brief
from adjoint.show.sheet import Sheet
from adjoint.show.troubles import is_finite
from adjoint.show.walks import ORDERS

from . import programs
from .parsing import whole
from .parts import FORMATS, Part, check_format, printed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rich.console import Console

    from adjoint.show import Explanation

    from .parsing import Parser

HERE = "-"  # instead of a file: print it
DIGITS, MANY = 12, 20  # of a gradient; inputs whose gradient is listed
LONG = 60  # operations of which a table shows all
DOCTORED = 10_000  # operations at most of a program that is run again for its diagnosis
CODE = ("latex", "dot", "mermaid")
PICTURES = ("svg", "png")
DESCRIPTION = """\
Show how the derivatives of a formula came about: the values of its steps, the
adjoints on the way back, and the gradient.

    adjoint explain "ln(x1) + x1*x2 - sin(x2)" --at x1=2,x2=5

A formula is read, never run as Python. Given module:function, or
path/to/file.py:function, it RUNS that module and calls the function:

    adjoint explain model.py:loss --args point.json

The JSON file holds the arguments, a list of them in order or an object by
name. Numbers become floats and nested lists arrays; whole numbers stay whole
where the parameter is annotated with int."""
EPILOG = """\
What is asked for stands in place of the traces; --table adds them again. NAMES
are one or several, x1,x2. Statements give names to steps: "a = x1*x2; a^2"."""


# ---- the command line

def add_command(commands: Any) -> dict[str, Parser]:
    """Add `explain` to the parser."""
    parser = commands.add_parser(
        "explain", allow_abbrev=False, help="show how a formula or function is differentiated",
        description=DESCRIPTION, epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", metavar="WHAT", nargs="?",
                        help="a formula, module:function, or path/to/file.py:function")
    point = parser.add_argument_group("where")
    point.add_argument("--at", action="append", metavar="VALUES",
                       help="values of the variables: x1=2,x2=pi/2,x=[1,2,3]")
    point.add_argument("--args", metavar="FILE", help="a JSON file of the arguments; - reads it "
                       "from the standard input")
    add_parts(parser.add_argument_group("what to show"))
    add_looks(parser.add_argument_group("how"))
    parser.set_defaults(run=run_explain)
    return {"explain": parser}


def add_parts(group: Any) -> None:
    """The options that ask for a part."""
    def add(name: str, text: str, metavar: str, **more: Any) -> None:
        group.add_argument(f"--{name}", metavar=metavar, help=text, **more)
    group.add_argument("--table", action="store_true", help="the forward and the reverse trace")
    add("forward", "the forward-mode trace by these inputs", "NAMES")
    add("paths", "the chain rule as a sum over the paths from here", "NAMES")
    add("chain", "the chain rule as a product, from the result to here", "NAMES")
    add("why", "the gradient of this in words; of all inputs without a name", "NAMES", nargs="?",
        const="")
    add("steps", f"a walk back through the graph: {', '.join(ORDERS)}", "ORDER", choices=ORDERS)
    add("latex", "a derivation in LaTeX, with FILE a document", "FILE", nargs="?", const=HERE)
    add("dot", "the graph for Graphviz", "FILE", nargs="?", const=HERE)
    add("mermaid", "the graph for Mermaid", "FILE", nargs="?", const=HERE)
    add("svg", "a picture of the graph into this file", "FILE")
    add("png", "the same as PNG (drawn by matplotlib)", "FILE")


def add_looks(group: Any) -> None:
    """The options that say how it looks."""
    group.add_argument("--format", choices=FORMATS, default="text", metavar="FORMAT",
                       help=f"{', '.join(FORMATS)} (default: %(default)s)")
    group.add_argument("--digits", type=whole(1), metavar="N", help="significant digits (default: "
                       "three decimals)")
    group.add_argument("--names", choices=("source", "v"), default="source", metavar="KIND",
                       help="source: the names of the program; v: v1, v2, ... (default: "
                       "%(default)s)")


def shielded(argv: Sequence[str]) -> list[str]:
    """The words of the command line, such that ``-x^2`` is a formula and no option."""
    if not argv or argv[0] != "explain":
        return list(argv)
    return [f" {w}" if re.match(r"-[^-]", w) and w != "-h" else w for w in argv]


def settle(args: Any) -> None:
    """Find the formula if an option took it: ``--latex "x^2"`` looks like a file's name."""
    takers = [n for n in ("why", *CODE) if getattr(args, n) not in (None, "", HERE)]
    if args.what is None and len(takers) == 1:
        args.what = getattr(args, takers[0])
        setattr(args, takers[0], "" if takers[0] == "why" else HERE)
    args.what = (args.what or "").strip()
    if not args.what:
        raise ArgumentError('explain what? Write a formula and where, as in adjoint explain '
                            '"x1*x2 + sin(x1)" --at x1=2,x2=5, or module:function')
    for option in ("forward", "paths", "chain"):
        if getattr(args, option) is not None and not names(getattr(args, option)):
            raise ArgumentError(f"--{option} needs a name, or several: --{option} x1,x2")
    if args.digits is not None and args.digits > 17:
        raise ArgumentError(f"--digits {args.digits}: a float has 17 significant digits at most")


# ---- the program

@dataclass(frozen=True)
class Subject:
    """What is explained: a function with its arguments, and what is to be said about it."""

    f: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    title: str
    notes: tuple[str, ...] = ()

    @property
    def is_formula(self) -> bool:
        """Whether its steps are pieces of a formula."""
        return isinstance(self.f, Formula)


def subject(args: Any) -> Subject:
    """The formula or function that was typed, with its arguments."""
    if args.at is not None and args.args is not None:
        raise ArgumentError("--at and --args both give the arguments; write one of them")
    if programs.is_target(args.what):
        return function(args)
    if args.args is not None:
        positional, values = programs.arguments(args.args, parse(args.what).f)
        formula = parse(args.what, given=values)
        values |= dict(zip(formula.variables, positional, strict=False))
    else:
        values = parse_values(",".join(args.at or ()))
        formula = parse(args.what, given=values)
    if not formula.variables:
        raise ArgumentError(f"the formula {brief(args.what)!r} has no variables, so there is "
                            'nothing to differentiate by; write one such as "x^2" --at x=3')
    return Subject(formula, formula.bind(values), {}, brief(args.what), formula.notes)


def function(args: Any) -> Subject:
    """The function that a module holds."""
    f = programs.load(args.what)
    if args.at is not None:
        positional, named = [], parse_values(",".join(args.at))
    elif args.args is not None:
        positional, named = programs.arguments(args.args, f)
    else:
        positional, named = [], {}
    programs.check_arguments(f, positional, named, f"in {args.args}" if args.args else (
        "of --at" if args.at else "(none are given)"))
    return Subject(f, tuple(positional), named, args.what)


# ---- the work

def run_explain(console: Console, args: Any) -> int:
    """Explain what was typed; the exit status."""
    settle(args)
    check_outputs(args)
    about = subject(args)
    e = programs.called(about.title, lambda: ad.explain(
        about.f, *about.args, names=args.names, **about.kwargs))
    found = list(parts(e, about, args))
    printed(console, args.format, about.title, found,
            facts(e, about) if args.format == "json" else {})
    sys.stdout.flush()
    for path in save(e, args):
        print(f"written: {path}", file=sys.stdout if args.format == "text" else sys.stderr)
    return 0


def asked(args: Any) -> list[str]:
    """The parts that were asked for by an option."""
    names = ("table", "forward", "paths", "chain", "why", "steps", *CODE, *PICTURES)
    return [n for n in names if getattr(args, n) not in (None, False)]


def check_outputs(args: Any) -> None:
    """An error now, not after the run, for a file that cannot be written."""
    check_format(args.format, [n for n in CODE if getattr(args, n) == HERE])
    for name in PICTURES:
        path = getattr(args, name)
        if path is not None:
            drawing.check_path(ended(path, f"the file of --{name}", [f".{name}"]))
    for name in CODE:
        path = getattr(args, name)
        if path not in (None, HERE) and (Path(path).is_dir() or not Path(path).parent.is_dir()):
            what = "is a folder" if Path(path).is_dir() else (
                f"lies in {Path(path).parent}, which does not exist")
            raise FormatError(f"--{name} {path}: nothing can be written there, it {what}")


def parts(e: Explanation, about: Subject, args: Any) -> Iterator[Part]:
    """A Part for each thing that was asked for, the traces and the gradient if nothing was."""
    wanted = asked(args)
    source = "text" if about.is_formula else "line"
    if args.table or not wanted:
        yield Part("table", e.table(digits=args.digits, source=source))
    if args.forward is not None:
        yield Part("forward", e.forward(names(args.forward), digits=args.digits, source=source))
    for name in names(args.paths):
        yield Part(f"paths {name}", styled(e.paths(name).sheet(), args))
    if args.chain is not None:
        named = any(s.named for s in e.record.operations)
        yield Part("chain", styled(e.chain(*names(args.chain), group=named).sheet(), args))
    if args.steps is not None:
        yield Part("steps", e.steps(args.steps).sheet(args.digits))
    if args.why is not None:
        yield why(e, args)
    for name in CODE:
        if getattr(args, name) == HERE:
            yield Part(name, code=code(e, args, name), language=name)
    if not wanted and args.format not in {"csv", "json"}:  # JSON has it as a fact
        yield gradient(e, about, args)


def names(text: str | None) -> list[str]:
    """The names in a list ``x1,x2``; a comma in brackets, ``w[0,1]``, separates none."""
    found, depth = [""], 0
    for sign in text or "":
        depth += (sign in "([") - (sign in ")]")
        if sign == "," and not depth:
            found.append("")
        else:
            found[-1] += sign
    return [name.strip() for name in found if name.strip()]


def styled(sheet: Sheet, args: Any) -> Sheet:
    """A table with the digits that were asked for."""
    if args.digits is not None:
        sheet.look = replace(sheet.look, digits=args.digits)
    return sheet


def why(e: Explanation, args: Any) -> Part:
    """The words about each gradient: sentences on a terminal, rows of a table elsewhere."""
    found = [words.why(e, e.step(n)) for n in names(args.why)] or [
        words.why(e, s) for s in e.record.inputs]
    rows = [[w.step.name, r.kind, r.text] for w in found for r in w.reasons]
    said = [[w.step.name, *[f"  {r.text}" for r in w.reasons]] for w in found]
    columns = [Column("step", kind="math"), "finding", "why"]
    return Part("why", Sheet(f"{e.record.title}: why", columns, rows),
                tuple(line for k, lines in enumerate(said) for line in ([""] * bool(k) + lines)))


def code(e: Explanation, args: Any, name: str) -> str:
    """A derivation or a graph as code."""
    if name == "latex":
        return e.latex(digits=args.digits).latex()
    picture = e.graph(digits=args.digits)
    return picture.dot() if name == "dot" else picture.mermaid()


def save(e: Explanation, args: Any) -> Iterator[str]:
    """Write the files that were asked for."""
    for name in CODE:
        path = getattr(args, name)
        if path is not None and path != HERE:
            text = e.latex(digits=args.digits).document() if name == "latex" else (
                code(e, args, name))
            Path(path).write_text(text, encoding="utf-8")
            yield path
    for name in PICTURES:
        path = getattr(args, name)
        if path is not None:
            e.graph(digits=args.digits).write(path)
            yield path


# ---- the gradient, and what the doctor says

def gradient(e: Explanation, about: Subject, args: Any) -> Part:
    """The value of the result and its derivatives, with what is to be noted."""
    output, inputs = e.record.output, e.record.inputs
    shown = [(output.name, output.value)] + [
        (f"d{output.name}/d{s.name}", e.adjoint(s)) for s in inputs[:MANY]]
    notes = remarks(e, about)
    if len(e.record.operations) > LONG:
        notes.insert(0, f"{len(e.record.operations):,} operations; of long tables the first and "
                     "the last rows are shown, and --format csv or json has them all")
    if len(inputs) > MANY:
        notes.insert(0, f"{len(inputs) - MANY:,} more inputs are not listed; e.adjoint(name), or "
                        "--format json, has them all")
    texts = [(name, x, numbers.shown(x, args.digits or (None if np.ndim(x) else DIGITS)))
             for name, x in shown]
    width = max(len(name) for name, _ in shown)
    lines = [f"{name:<{width}} = {text}" for name, _, text in texts]
    sheet = Sheet("Result and gradient", ["derivative", Column("value", kind="number")],
                  [[name, Cell(x, text)] for name, x, text in texts], notes)
    return Part("result", sheet, (*lines, *[f"note: {n}" for n in notes]))


def remarks(e: Explanation, about: Subject) -> list[str]:
    """What is to be known besides the numbers: how the formula was read, what the doctor finds."""
    return [*about.notes, *doctor(e, about)]


def doctor(e: Explanation, about: Subject) -> list[str]:
    """What ad.diagnose finds first, if something is not finite."""
    values = [s.value for s in e.record.steps] + list(e.flows.reverse.adjoints.values())
    with np.errstate(all="ignore"):
        if all(map(is_finite, values)):
            return []
    if len(e.record.operations) > DOCTORED:
        return ["something is not finite; ad.diagnose(f, ...) says what made it so"]
    count = len(about.args)

    def f(*xs: Any) -> Any:  # ad.diagnose takes no keyword arguments
        return about.f(*xs[:count], **dict(zip(about.kwargs, xs[count:], strict=True)))
    try:
        with redirect_stdout(sys.stderr), np.errstate(all="ignore"):
            finding = ad.diagnose(f, *about.args, *about.kwargs.values()).first
    except AdjointError as error:  # a training step: it calls backward() itself
        return [f"something is not finite, and the doctor cannot run this: {error.message}"]
    if finding is None:
        return []
    head = HEADS[finding.phase].format(kind=finding.kind, operation=finding.operation)
    at = f" ({Path(finding.file).name}, line {finding.line})" if (
        finding.file and not about.is_formula) else ""
    return [f"the doctor (ad.diagnose): {head}{at}" + (
        f": {finding.happened}" if finding.happened else "")]


def facts(e: Explanation, about: Subject) -> dict[str, Any]:
    """What JSON holds of every explanation: exact numbers by name."""
    output = e.record.output
    return {"program": about.title, "notes": remarks(e, about),
            "inputs": {s.name: numbers.exact(s.value) for s in e.record.inputs},
            "operations": len(e.record.operations),
            "result": {"name": output.name, "value": numbers.exact(output.value)},
            "gradient": {s.name: numbers.exact(e.adjoint(s)) for s in e.record.inputs}}
