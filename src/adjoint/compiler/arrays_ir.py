"""LLVM IR that all calls share: tests of ndarrays, objects of `callables`; the words of a record.

A record begins with a C structure PyMethodDef, so that it defines the function that it belongs to.
"""

from __future__ import annotations

from .abi import (
    ALIGNED,
    BASE,
    C_ORDER,
    CLASS,
    CONTENTS,
    DATA,
    DESCR,
    ENTRY,
    FLAGS,
    KIND,
    KIND_MASK,
    LIST_ITEMS,
    PYTHON,
    RANK,
    SHAPE,
    TUPLE_ITEMS,
    WEAK,
)
from .abi import WRITEABLE as WRITEABLE_FLAG

SHARED = ("array", "alone", "recycled", "admit", "floats", "keys")  # functions of `HELPERS`
FIXED = ("meth_name", "meth", "meth_flags", "meth_doc", "busy", "slow", "failed", "segment",
         "table", "work", "ndarray", "float", "Memory", "None", "PyArray_NewFromDescr", *PYTHON,
         *SHARED)
READABLE = C_ORDER | ALIGNED
WRITEABLE = READABLE | WRITEABLE_FLAG
SPEC_SHAPE = 40  # bytes from the start of a spec: class, dtype, kind, rank, flags, then the shape
NO_FLAG = 2**63 - 1  # the bits of a count of arguments that CPython does not use for itself
MEMCPY = "llvm.memcpy.p0.p0.i64"

# The functions that every trampoline calls, through its record: compiled once. A spec is what an
# array must be, as words.
HELPERS = f"""
; the memory of an array that is as the spec says, or null
define ptr @array(ptr %o, ptr %spec) #0 {{
entry:
  %class.at = getelementptr i8, ptr %o, i64 {CLASS}
  %class = load ptr, ptr %class.at
  %class.wanted = load ptr, ptr %spec
  %class.fits = icmp eq ptr %class, %class.wanted
  br i1 %class.fits, label %dtype, label %no
dtype:
  %descr.at = getelementptr i8, ptr %o, i64 {DESCR}
  %descr = load ptr, ptr %descr.at
  %descr.wanted.at = getelementptr i8, ptr %spec, i64 8
  %descr.wanted = load ptr, ptr %descr.wanted.at
  %descr.fits = icmp eq ptr %descr, %descr.wanted
  br i1 %descr.fits, label %rank, label %kind
kind:
  %kind.at = getelementptr i8, ptr %descr, i64 {KIND}
  %kind.all = load i64, ptr %kind.at
  %kind.known = and i64 %kind.all, {KIND_MASK - 2**64}
  %kind.wanted.at = getelementptr i8, ptr %spec, i64 16
  %kind.wanted = load i64, ptr %kind.wanted.at
  %kind.fits = icmp eq i64 %kind.known, %kind.wanted
  br i1 %kind.fits, label %rank, label %no
rank:
  %rank.at = getelementptr i8, ptr %o, i64 {RANK}
  %rank.given = load i32, ptr %rank.at
  %rank.count = sext i32 %rank.given to i64
  %rank.wanted.at = getelementptr i8, ptr %spec, i64 24
  %rank.wanted = load i64, ptr %rank.wanted.at
  %rank.fits = icmp eq i64 %rank.count, %rank.wanted
  br i1 %rank.fits, label %flags, label %no
flags:
  %flags.at = getelementptr i8, ptr %o, i64 {FLAGS}
  %flags.given = load i32, ptr %flags.at
  %flags.wide = zext i32 %flags.given to i64
  %flags.wanted.at = getelementptr i8, ptr %spec, i64 32
  %flags.wanted = load i64, ptr %flags.wanted.at
  %flags.found = and i64 %flags.wide, %flags.wanted
  %flags.fits = icmp eq i64 %flags.found, %flags.wanted
  br i1 %flags.fits, label %shape, label %no
shape:
  %shape.at = getelementptr i8, ptr %o, i64 {SHAPE}
  %given = load ptr, ptr %shape.at
  %wanted = getelementptr i8, ptr %spec, i64 {SPEC_SHAPE}
  br label %axis
axis:
  %k = phi i64 [0, %shape], [%following, %size]
  %done = icmp eq i64 %k, %rank.count
  br i1 %done, label %yes, label %size
size:
  %given.at = getelementptr i64, ptr %given, i64 %k
  %given.size = load i64, ptr %given.at
  %wanted.at = getelementptr i64, ptr %wanted, i64 %k
  %wanted.size = load i64, ptr %wanted.at
  %following = add i64 %k, 1
  %size.fits = icmp eq i64 %given.size, %wanted.size
  br i1 %size.fits, label %axis, label %no
yes:
  %data.at = getelementptr i8, ptr %o, i64 {DATA}
  %data = load ptr, ptr %data.at
  ret ptr %data
no:
  ret ptr null
}}

; whether an array has at most so many holders, and memory that is no other array's
define i1 @alone(ptr %record, ptr %o, i32 %holders) #0 {{
entry:
  %count = load i32, ptr %o
  %few = icmp ule i32 %count, %holders
  br i1 %few, label %memory, label %no
memory:
  %base.at = getelementptr i8, ptr %o, i64 {BASE}
  %base = load ptr, ptr %base.at
  %own = icmp eq ptr %base, null
  br i1 %own, label %yes, label %ours
ours:
  %class.at = getelementptr i8, ptr %base, i64 {CLASS}
  %class = load ptr, ptr %class.at
  %class.wanted.at = getelementptr i8, ptr %record, i64 {8 * FIXED.index("Memory")}
  %class.wanted = load ptr, ptr %class.wanted.at
  %class.fits = icmp eq ptr %class, %class.wanted
  %base.count = load i32, ptr %base
  %base.alone = icmp eq i32 %base.count, 1
  %both = and i1 %class.fits, %base.alone
  ret i1 %both
yes:
  ret i1 true
no:
  ret i1 false
}}

; whether a dict has these keys, in that order: their number, and each
define i1 @keys(ptr %record, ptr %dict, ptr %wanted) #0 {{
entry:
  %position = alloca i64
  %key = alloca ptr
  %next.at = getelementptr i8, ptr %record, i64 {8 * FIXED.index("PyDict_Next")}
  %next = load ptr, ptr %next.at
  %count = load i64, ptr %wanted
  store i64 0, ptr %position
  br label %one
one:
  %k = phi i64 [0, %entry], [%following, %compare]
  %done = icmp eq i64 %k, %count
  br i1 %done, label %yes, label %look
look:
  %found = call i32 %next(ptr %dict, ptr %position, ptr %key, ptr null)
  %there = icmp ne i32 %found, 0
  br i1 %there, label %compare, label %no
compare:
  %given = load ptr, ptr %key
  %following = add i64 %k, 1
  %at = getelementptr i64, ptr %wanted, i64 %following
  %expected = load ptr, ptr %at
  %same = icmp eq ptr %given, %expected
  br i1 %same, label %one, label %no
yes:
  ret i1 true
no:
  ret i1 false
}}

; whether the pool is the only one that has an array, and nobody has changed what it is
define internal i1 @idle(ptr %record, ptr %o, ptr %spec) #0 {{
entry:
  %data = call ptr @array(ptr %o, ptr %spec)
  %fits = icmp ne ptr %data, null
  br i1 %fits, label %holders, label %no
holders:
  %alone = call i1 @alone(ptr %record, ptr %o, i32 1)
  %weak.at = getelementptr i8, ptr %o, i64 {WEAK}
  %weak = load ptr, ptr %weak.at
  %unwatched = icmp eq ptr %weak, null
  %both = and i1 %alone, %unwatched
  ret i1 %both
no:
  ret i1 false
}}

; an array of the pool's two that is idle, or null; the second is the newer
define ptr @recycled(ptr %record, ptr %list, ptr %spec) #0 {{
entry:
  %items.at = getelementptr i8, ptr %list, i64 {LIST_ITEMS}
  %items = load ptr, ptr %items.at
  %second.at = getelementptr i8, ptr %items, i64 8
  %first = load ptr, ptr %items
  %second = load ptr, ptr %second.at
  %first.idle = call i1 @idle(ptr %record, ptr %first, ptr %spec)
  br i1 %first.idle, label %older, label %newer
older:
  store ptr %second, ptr %items
  store ptr %first, ptr %second.at
  br label %found
newer:
  %second.idle = call i1 @idle(ptr %record, ptr %second, ptr %spec)
  br i1 %second.idle, label %found, label %none
found:
  %o = phi ptr [%first, %older], [%second, %newer]
  %count = load i32, ptr %o
  %more = add i32 %count, 1
  store i32 %more, ptr %o
  ret ptr %o
none:
  ret ptr null
}}

; put a new array into the pool's two, and let the older one go
define void @admit(ptr %list, ptr %o, ptr %let.go) #0 {{
  %items.at = getelementptr i8, ptr %list, i64 {LIST_ITEMS}
  %items = load ptr, ptr %items.at
  %second.at = getelementptr i8, ptr %items, i64 8
  %first = load ptr, ptr %items
  %second = load ptr, ptr %second.at
  store ptr %second, ptr %items
  store ptr %o, ptr %second.at
  %count = load i32, ptr %o
  %more = add i32 %count, 1
  store i32 %more, ptr %o
  call void %let.go(ptr %first)
  ret void
}}

; a tuple of floats, or null with an error: one of the pool's two that nobody else has, and so are
; its floats. What others hold is not changed. The second is the newer
define ptr @floats(ptr %record, ptr %list, ptr %values, i64 %n) #0 {{
entry:
  %number.at = getelementptr i8, ptr %record, i64 {8 * FIXED.index("PyFloat_FromDouble")}
  %number = load ptr, ptr %number.at
  %let.go.at = getelementptr i8, ptr %record, i64 {8 * FIXED.index("Py_DecRef")}
  %let.go = load ptr, ptr %let.go.at
  %place.at = getelementptr i8, ptr %list, i64 {LIST_ITEMS}
  %place = load ptr, ptr %place.at
  %second.at = getelementptr i8, ptr %place, i64 8
  %first = load ptr, ptr %place
  %second = load ptr, ptr %second.at
  %first.count = load i32, ptr %first
  %first.idle = icmp eq i32 %first.count, 1
  br i1 %first.idle, label %older, label %newer
older:
  store ptr %second, ptr %place
  store ptr %first, ptr %second.at
  br label %again
newer:
  %second.count = load i32, ptr %second
  %second.idle = icmp eq i32 %second.count, 1
  br i1 %second.idle, label %again, label %new
again:
  %last = phi ptr [%first, %older], [%second, %newer]
  store i32 2, ptr %last
  br label %fill
new:
  %tuple.at = getelementptr i8, ptr %record, i64 {8 * FIXED.index("PyTuple_New")}
  %tuple = load ptr, ptr %tuple.at
  %made = call ptr %tuple(i64 %n)
  %made.none = icmp eq ptr %made, null
  br i1 %made.none, label %none, label %fill
fill:
  %o = phi ptr [%last, %again], [%made, %new]
  %items = getelementptr i8, ptr %o, i64 {TUPLE_ITEMS}
  br label %next
next:
  %k = phi i64 [0, %fill], [%k.next, %done]
  %value.at = getelementptr double, ptr %values, i64 %k
  %value = load double, ptr %value.at
  %item.at = getelementptr ptr, ptr %items, i64 %k
  %item = load ptr, ptr %item.at
  %item.none = icmp eq ptr %item, null
  br i1 %item.none, label %replace, label %holders
holders:
  %holders.count = load i32, ptr %item
  %item.idle = icmp eq i32 %holders.count, 1
  br i1 %item.idle, label %write, label %replace
write:
  %contents = getelementptr i8, ptr %item, i64 {CONTENTS}
  store double %value, ptr %contents
  br label %done
replace:
  %other = call ptr %number(double %value)
  %other.none = icmp eq ptr %other, null
  br i1 %other.none, label %failed, label %put
put:
  store ptr %other, ptr %item.at
  call void %let.go(ptr %item)
  br label %done
done:
  %k.next = add i64 %k, 1
  %k.end = icmp eq i64 %k.next, %n
  br i1 %k.end, label %full, label %next
full:
  %count = load i32, ptr %o
  %known = icmp eq i32 %count, 2
  br i1 %known, label %give, label %keep
keep:
  call void @admit(ptr %list, ptr %o, ptr %let.go)
  br label %give
give:
  ret ptr %o
failed:
  call void %let.go(ptr %o)
  br label %none
none:
  ret ptr null
}}

; the C function of objects of `callables`: calls what their entry says, and holds that meanwhile
define ptr @serve(ptr %self, ptr %args, i64 %count, ptr %names) #0 {{
entry:
  %entry.at = getelementptr i8, ptr %self, i64 {ENTRY}
  %frame = load ptr, ptr %entry.at
  %there = icmp ne ptr %frame, null
  br i1 %there, label %call, label %cleared
call:
  %holders = load i32, ptr %frame
  %more = add i32 %holders, 1
  store i32 %more, ptr %frame
  %record.at = getelementptr i8, ptr %frame, i64 {DATA}
  %record = load ptr, ptr %record.at
  %code.at = getelementptr i8, ptr %record, i64 {8 * FIXED.index("meth")}
  %code = load ptr, ptr %code.at
  %plain = and i64 %count, {NO_FLAG}
  %answer = call ptr %code(ptr %frame, ptr %args, i64 %plain, ptr %names)
  %left = load i32, ptr %frame
  %last = icmp eq i32 %left, 1
  br i1 %last, label %end, label %fewer
fewer:
  %less = sub i32 %left, 1
  store i32 %less, ptr %frame
  ret ptr %answer
end:
  %let.go.at = getelementptr i8, ptr %record, i64 {8 * FIXED.index("Py_DecRef")}
  %let.go = load ptr, ptr %let.go.at
  call void %let.go(ptr %frame)
  ret ptr %answer
cleared: ; by the collection of garbage; CPython raises SystemError for a null without an error
  ret ptr null
}}

; calls the function of Python that a frame refers to
define ptr @forward(ptr %frame, ptr %args, i64 %count, ptr %names) #0 {{
  %record.at = getelementptr i8, ptr %frame, i64 {DATA}
  %record = load ptr, ptr %record.at
  %slow.at = getelementptr i8, ptr %record, i64 {8 * FIXED.index("slow")}
  %slow = load ptr, ptr %slow.at
  %call.at = getelementptr i8, ptr %record, i64 {8 * FIXED.index("PyObject_Vectorcall")}
  %call = load ptr, ptr %call.at
  %answer = call ptr %call(ptr %slow, ptr %args, i64 %count, ptr %names)
  ret ptr %answer
}}
"""
