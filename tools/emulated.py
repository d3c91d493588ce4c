"""Compiled programs on a processor of another kind: emitted here, linked, and run by an emulator.

`Emulated` is a `Compiled` whose code is an object file for aarch64. `run` links the files of
several with a driver of a few lines, which is LLVM IR itself: it reads an image of memory from its
standard input, runs each program on its part, and writes the image to its standard output. What is
needed are the Debian packages of `PACKAGES`: an emulator, a linker, and a C library to link with.
`python -m tools.emulated` installs what lacks, where it may.
"""

import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import llvmlite.binding as llvm
import numpy as np

from adjoint.compiler.compiled import Compiled, Run
from adjoint.compiler.native import SPEED, Target
from adjoint.compiler.threads import text as runtime

PACKAGES = "qemu-user-static lld libc6-arm64-cross"
TRIPLE = "aarch64-unknown-linux-gnu"
AARCH64 = Target("generic", "", 16, fused=True)
SYSTEM = Path("/usr/aarch64-linux-gnu")
LIBRARIES = [SYSTEM / "lib" / name for name in ("libc.so.6", "libm.so.6")]
ALIGNED = 64  # bytes, of each part of an image
CALL = """
  %t{k} = getelementptr i8, ptr %image, i64 {table}
  %w{k} = getelementptr i8, ptr %image, i64 {work}
  call void @relocate(ptr %t{k}, i64 {slots}, ptr %image)
  %r{k} = call i64 @{name}(ptr %t{k}, ptr %w{k})
  %c{k} = getelementptr i64, ptr %image, i64 {k}
  store i64 %r{k}, ptr %c{k}
"""
DRIVER = """
declare i64 @read(i32, ptr, i64)
declare i64 @write(i32, ptr, i64)
declare void @_exit(i32)
declare ptr @aligned_alloc(i64, i64)
{declarations}

define void @relocate(ptr %table, i64 %slots, ptr %image) {{
entry:
  br label %head
head:
  %i = phi i64 [0, %entry], [%next, %head]
  %slot = getelementptr i64, ptr %table, i64 %i
  %offset = load i64, ptr %slot
  %place = getelementptr i8, ptr %image, i64 %offset
  store ptr %place, ptr %slot
  %next = add i64 %i, 1
  %more = icmp ult i64 %next, %slots
  br i1 %more, label %head, label %out
out:
  ret void
}}

{moves}

define void @_start() {{
entry:
  %image = call ptr @aligned_alloc(i64 4096, i64 {total})
  call void @read_all(i32 0, ptr %image)
{calls}
  call void @write_all(i32 1, ptr %image)
  call void @_exit(i32 0)
  unreachable
}}
"""
MOVE = """
define void @{which}_all(i32 %file, ptr %image) {{
entry:
  br label %head
head:
  %i = phi i64 [0, %entry], [%next, %again]
  %place = getelementptr i8, ptr %image, i64 %i
  %rest = sub i64 {total}, %i
  %n = call i64 @{which}(i32 %file, ptr %place, i64 %rest)
  %some = icmp sgt i64 %n, 0
  br i1 %some, label %again, label %fail
again:
  %next = add i64 %i, %n
  %more = icmp ult i64 %next, {total}
  br i1 %more, label %head, label %out
out:
  ret void
fail:
  call void @_exit(i32 2)
  unreachable
}}
"""


def emulator():
    """The program that runs aarch64 code; empty if this machine has none."""
    return shutil.which("qemu-aarch64-static") or shutil.which("qemu-aarch64") or ""


def lacking():
    """What must be installed before anything can be run here; empty if nothing."""
    missing = [what for what, found in (
        ("qemu-aarch64", emulator()), ("ld.lld", shutil.which("ld.lld")),
        *((str(p), p.exists()) for p in LIBRARIES)) if not found]
    return f"{', '.join(missing)} not found: apt-get install {PACKAGES}" if missing else ""


@cache
def machine():
    """What writes code for aarch64."""
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    return llvm.Target.from_triple(TRIPLE).create_target_machine(
        cpu=AARCH64.cpu, features=AARCH64.features, opt=SPEED, reloc="pic", codemodel="small")


def emitted(text):
    """The object file of a module."""
    module = llvm.parse_assembly(text)
    module.triple = TRIPLE
    module.verify()
    return machine().emit_object(module)


class Emulated(Compiled):
    """A Program as an object file for aarch64; `run` runs it."""

    def __init__(self, program, **build):
        super().__init__(program, target=AARCH64, **build)

    def code(self, names):
        """No function that could be called here."""
        return dict.fromkeys(names)

    @property
    def whole(self):
        """Whether one native function is all of it."""
        return [bool(name) for name, _ in self.segments] == [True]

    def object(self, name):
        """The object file, with its function under a name of its own."""
        (segment, _), = self.segments
        return emitted(self.text.replace(f"@{segment}(", f"@{name}("))


class Part:
    """One program and its arguments, in an image of memory."""

    def __init__(self, compiled, values, start):
        self.run = Run(compiled, values)
        self.arrays = {}  # by where they are here
        layout = compiled.layout
        for value in [*(v for k, v in self.run.held.items() if isinstance(k, tuple)),
                      *compiled.constants]:
            self.arrays[value.ctypes.data] = value
        self.table, end = start, up(start + 8 * len(self.run.table))
        self.places = {}
        for at, array in self.arrays.items():
            self.places[at], end = end, up(end + array.nbytes)
        self.work, self.end = end, up(end + layout.bytes)
        self.slots = len(self.run.table)

    def write(self, image):
        """Put the table, which has offsets for pointers, and the arrays into an image."""
        offsets = [self.places.get(int(at), 0) for at in self.run.table]
        image[self.table:self.table + 8 * self.slots] = np.array(offsets, np.int64).view(np.uint8)
        for at, array in self.arrays.items():
            image[self.places[at]:self.places[at] + array.nbytes] = raw(array)

    def read(self, image):
        """Take them out again."""
        for at, array in self.arrays.items():
            if array.flags.writeable:
                raw(array)[:] = image[self.places[at]:self.places[at] + array.nbytes]
        self.run.work[:] = image[self.work:self.work + len(self.run.work)]

    def outputs(self):
        """The results."""
        return [self.run.output(n) for n in self.run.program.outputs]


def up(n):
    """The next multiple of the alignment."""
    return -(-n // ALIGNED) * ALIGNED


def raw(array):
    """The bytes of an array in C order."""
    return np.ndarray((array.nbytes,), np.uint8, array.reshape(-1).data)


def run(cases, threads=0):
    """For each (Emulated, arguments): the failure code of its function, and its outputs.

    With a number of threads, which programs need whose kernels are shared, so many share them.
    """
    parts, end = [], up(8 * len(cases))
    for compiled, values in cases:
        parts.append(Part(compiled, values, end))
        end = parts[-1].end
    total = -(-end // 4096) * 4096
    image = np.zeros(total, np.uint8)
    for part in parts:
        part.write(image)
    calls = "".join(CALL.format(k=k, table=p.table, work=p.work, slots=p.slots, name=f"program_{k}")
                    for k, p in enumerate(parts))
    declared = [f"declare i64 @program_{k}(ptr, ptr)" for k in range(len(parts))]
    if threads:
        declared.append("declare i64 @adjoint_limit(i64)")
        calls = f"  call i64 @adjoint_limit(i64 {threads})\n{calls}"
    driver = DRIVER.format(
        declarations="\n".join(declared),
        moves="".join(MOVE.format(which=w, total=total) for w in ("read", "write")),
        total=total, calls=calls)
    objects = [emitted(driver), *(c.object(f"program_{k}") for k, (c, _) in enumerate(cases))]
    if threads:
        objects.append(emitted(runtime("aarch64", AARCH64.attributes(), several=True)))
    image[:] = np.frombuffer(executed(objects, image.tobytes()), np.uint8)
    for part in parts:
        part.read(image)
    codes = image[:8 * len(cases)].view(np.int64)
    return [(int(code), p.outputs()) for code, p in zip(codes, parts, strict=True)]


def executed(objects, image):
    """What the program of some object files makes of an image."""
    with TemporaryDirectory() as folder:
        names = []
        for k, code in enumerate(objects):
            names.append(f"{folder}/{k}.o")
            Path(names[-1]).write_bytes(code)
        subprocess.run(["ld.lld", "-o", f"{folder}/program", *names, *map(str, LIBRARIES),
                        "--dynamic-linker", "/lib/ld-linux-aarch64.so.1"], check=True)
        return subprocess.run([emulator(), "-L", str(SYSTEM), f"{folder}/program"], input=image,
                              capture_output=True, check=True).stdout


def main():
    """Install what lacks, by apt-get as root; 1 if it still lacks then."""
    if lacking() and shutil.which("apt-get") and os.geteuid() == 0:
        subprocess.run(["apt-get", "install", "-y", "--no-install-recommends", *PACKAGES.split()],
                       check=False)
    if lacking():
        print(f"{lacking()} (as root)", file=sys.stderr)
        return 1
    print(f"aarch64 is emulated by {emulator()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
