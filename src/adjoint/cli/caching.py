"""`adjoint cache`: where compiled programs are kept, how much there is, and away with it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from adjoint.compiler import cache

if TYPE_CHECKING:
    from rich.console import Console

    from .parsing import Parser

KILO, MEGA = 1 << 10, 1 << 20


def add_command(commands: Any) -> dict[str, Parser]:
    """Add `cache` to the parser."""
    parser = commands.add_parser(
        "cache", allow_abbrev=False, help="show or clear the cache of compiled programs",
        description="ad.jit keeps machine code on disk, so that a program is compiled once. "
        f"{cache.VARIABLE} in the environment names another folder, or is off.")
    either = parser.add_mutually_exclusive_group()
    either.add_argument("--info", action="store_true",
                        help="say where it is and how much it holds (the default)")
    either.add_argument("--clear", action="store_true", help="remove what it holds")
    parser.set_defaults(run=run_cache)
    return {"cache": parser}


def run_cache(console: Console, args: Any) -> int:
    """Show it or clear it; status 1 if its folder is one that is not used."""
    found = cache.clear() if args.clear else cache.info()
    if not found.folder:
        print(found.trouble)
        return 0
    if found.trouble:
        print(f"adjoint: {found.trouble}", file=sys.stderr)
        return 1
    programs = f"{found.entries:,} program" + "s" * (found.entries != 1)
    size = (f"{found.bytes / MEGA:.1f} MB" if found.bytes >= MEGA else
            f"{-(-found.bytes // KILO)} KB")
    if args.clear:
        print(f"removed {programs}, {size}, from {found.folder}")
    else:
        print(f"{found.folder}: {programs}, {size} of at most {cache.LIMIT // MEGA} MB")
    return 0
