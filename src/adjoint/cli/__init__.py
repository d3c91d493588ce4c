"""The ``adjoint`` command: explain a derivative step by step, and train a network on real digits.

Start at `main`. `training`, `explaining` and `caching` are its commands, `parsing` reads what is
typed.
"""

from __future__ import annotations

import io
import os
import sys
from typing import TYPE_CHECKING

import adjoint as ad
from adjoint.errors import AdjointError, ArgumentError, FormatError, FormulaError

from . import caching, explaining, training
from .parsing import Parser

if TYPE_CHECKING:
    from collections.abc import Sequence

INTERRUPTED = 130
MISTYPED = (ArgumentError, FormatError, FormulaError)


def build_parser() -> tuple[Parser, dict[str, Parser]]:
    """The parser of the whole command, and those of its commands by name."""
    top = Parser("adjoint", allow_abbrev=False, description="Exact derivatives of NumPy programs, "
                 "shown step by step.", epilog="adjoint COMMAND --help tells the options of one.")
    top.add_argument("--version", action="version", version=f"adjoint {ad.__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", title="commands",
                                  parser_class=Parser)
    return top, (explaining.add_command(commands) | training.add_commands(commands)
                 | caching.add_command(commands))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with these arguments (the process's own if None); returns the exit status.

    >>> ad.cli.main(["train", "digits", "--epochs", "1", "--quiet"])  # doctest: +ELLIPSIS
    test accuracy ...
    0
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # an old terminal prints ? for what it lacks
            stream.reconfigure(errors="replace")
    parser, commands = build_parser()
    words = explaining.shielded(sys.argv[1:] if argv is None else argv)
    args, rest = parser.parse_known_args(words)
    if rest:
        commands.get(args.command, parser).check_rest(rest)
    if args.command is None:
        parser.print_help()
        return 0
    from rich.console import Console
    console = Console()
    try:
        status: int = args.run(console, args)
        sys.stdout.flush()  # a reader that has gone is noticed here
    except AdjointError as e:
        print(f"adjoint: {e.message}", file=sys.stderr)
        return 2 if isinstance(e, MISTYPED) else 1
    except KeyboardInterrupt:
        print("\nadjoint: stopped", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader of the output has gone: `adjoint demo | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as e:
        print(f"adjoint: {e.strerror or e}: {e.filename or ''}", file=sys.stderr)
        return 1
    return status
