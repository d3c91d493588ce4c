"""The text of the runtime that shares chunks: what callers run, and the whole module.

`SHARE` computes the chunks of a part, by the caller and by whatever workers are free;
``workers_ir.py`` says how that goes, and has what workers run.
"""

from __future__ import annotations

from .workers_ir import MOST, PAUSES, SPIN, STATE, WAITING, WORK

SHARE = "adjoint_share"
FAILED = (1 << 40) - 1  # the bits of a failure code; above them is the chunk, the first one counts

# All chunks by the caller: at once where that is allowed, else one after another.
ALONE = """
define internal i64 @alone(ptr %part, ptr %args, ptr %own, i64 %count, i64 %whole) #0 {
entry:
  %once = icmp ne i64 %whole, 0
  br i1 %once, label %all, label %next
all:
  %answer = call i64 %part(ptr %args, ptr %own, i64 0, i64 %count)
  ret i64 %answer
next:
  %k = phi i64 [0, %entry], [%then, %good]
  %then = add nuw nsw i64 %k, 1
  %code = call i64 %part(ptr %args, ptr %own, i64 %k, i64 %then)
  %bad = icmp ne i64 %code, 0
  br i1 %bad, label %out, label %good
good:
  %more = icmp ult i64 %then, %count
  br i1 %more, label %next, label %out
out:
  ret i64 %code
}
"""

# What a process calls that wants one thread, until it wants more.
SINGLE = """
@others = internal global ptr null  ; what shares chunks among threads, from then on
define i64 @adjoint_share(ptr %part, ptr %args, ptr %own, i64 %count, i64 %bytes, i64 %whole) #0 {
entry:
  %others = load atomic ptr, ptr @others seq_cst, align 8
  %none = icmp eq ptr %others, null
  br i1 %none, label %alone, label %share
alone:
  %by_one = call i64 @alone(ptr %part, ptr %args, ptr %own, i64 %count, i64 %whole)
  ret i64 %by_one
share:
  %code = call i64 %others(ptr %part, ptr %args, ptr %own, i64 %count, i64 %bytes, i64 %whole)
  ret i64 %code
}
define i64 @adjoint_others(i64 %address) #0 {
  %others = inttoptr i64 %address to ptr
  store atomic ptr %others, ptr @others seq_cst, align 8
  ret i64 0
}
"""

CALLING = """
define i64 @adjoint_share(ptr %part, ptr %args, ptr %own, i64 %count, i64 %bytes, i64 %whole) #0 {
entry:
  %room = alloca [2 x i64]
  %limit = load atomic i64, ptr @limit seq_cst, align 8
  %several = icmp ugt i64 %limit, 1
  br i1 %several, label %enter, label %alone
enter:
  %pair = cmpxchg ptr @busy, i64 0, i64 1 seq_cst seq_cst
  %mine = extractvalue {i64, i1} %pair, 1
  br i1 %mine, label %prepare, label %alone
prepare:
  %some = call i1 @prepare(i64 %limit, i64 %count, i64 %bytes)
  br i1 %some, label %publish, label %leave
leave:
  store atomic i64 0, ptr @busy seq_cst, align 8
  br label %alone
alone:
  %by_one = call i64 @alone(ptr %part, ptr %args, ptr %own, i64 %count, i64 %whole)
  ret i64 %by_one
publish:
  store ptr %part, ptr @part
  store ptr %args, ptr @args
  store ptr %own, ptr @own
  store i64 %count, ptr @count
  store atomic i64 -1, ptr @failure seq_cst, align 8
  store atomic i64 0, ptr @done seq_cst, align 8
  store atomic i64 %count, ptr @tickets seq_cst, align 8
  %asleep = load atomic i64, ptr @asleep seq_cst, align 8
  %sleepers = icmp ne i64 %asleep, 0
  br i1 %sleepers, label %call, label %help
call:
  %workers = load i64, ptr @started
  %idle = icmp uge i64 %workers, %limit
  br i1 %idle, label %all_of_them, label %two
all_of_them:  ; because not everybody may help
  call void @ring(ptr @wake)
  br label %help
two:
  call i32 @pthread_mutex_lock(ptr @mutex)
  call i32 @pthread_mutex_unlock(ptr @mutex)
  call i32 @pthread_cond_signal(ptr @wake)
  call i32 @pthread_cond_signal(ptr @wake)
  br label %help
help:
  call void @work(ptr @own)
  %since = call i64 @now(ptr %room)
  br label %look
look:
  %done = load atomic i64, ptr @done seq_cst, align 8
  %all = icmp eq i64 %done, %count
  br i1 %all, label %out, label %rest
rest:
  %early = call i1 @spin(ptr %room, i64 %since)
  br i1 %early, label %look, label %doze
doze:
  call i32 @pthread_mutex_lock(ptr @mutex)
  store atomic i64 1, ptr @waiting seq_cst, align 8
  br label %again
again:
  %by_now = load atomic i64, ptr @done seq_cst, align 8
  %enough = icmp eq i64 %by_now, %count
  br i1 %enough, label %up, label %sleep
sleep:
  call i32 @pthread_cond_wait(ptr @finished, ptr @mutex)
  br label %again
up:
  store atomic i64 0, ptr @waiting seq_cst, align 8
  call i32 @pthread_mutex_unlock(ptr @mutex)
  br label %out
out:
  %failure = load atomic i64, ptr @failure seq_cst, align 8
  %well = icmp eq i64 %failure, -1
  %code = and i64 %failure, FAILED
  %answer = select i1 %well, i64 0, i64 %code
  store atomic i64 0, ptr @busy seq_cst, align 8
  ret i64 %answer
}
; workers, and scratch memory for each; whether there is a worker, and all have it
define internal i1 @prepare(i64 %limit, i64 %count, i64 %bytes) #0 {
entry:
  %room = alloca ptr
  %fewer = icmp ult i64 %limit, %count
  %threads = select i1 %fewer, i64 %limit, i64 %count
  %wanted = sub i64 %threads, 1
  %before = load i64, ptr @started
  %refused = load i64, ptr @refused
  %enough = icmp uge i64 %before, %wanted
  %never = icmp ne i64 %refused, 0
  %ask = or i1 %enough, %never
  br i1 %ask, label %serve, label %start
start:
  call void @start(i64 %wanted)
  br label %serve
serve:
  %started = load i64, ptr @started
  %some = icmp ne i64 %started, 0
  br i1 %some, label %look, label %bad
look:
  %k = phi i64 [0, %serve], [%next, %good]
  %here = getelementptr i64, ptr @sizes, i64 %k
  %place = getelementptr ptr, ptr @scratch, i64 %k
  %size = load i64, ptr %here
  %fits = icmp uge i64 %size, %bytes
  br i1 %fits, label %good, label %grow
grow:
  %old = load ptr, ptr %place
  call void @free(ptr %old)
  store ptr null, ptr %place
  store i64 0, ptr %here
  %large = icmp uge i64 %bytes, 4194304
  %align = select i1 %large, i64 2097152, i64 64
  %code = call i32 @posix_memalign(ptr %room, i64 %align, i64 %bytes)
  %failed = icmp ne i32 %code, 0
  br i1 %failed, label %bad, label %keep
keep:
  %new = load ptr, ptr %room
  store ptr %new, ptr %place
  store i64 %bytes, ptr %here
  br i1 %large, label %huge, label %good
huge:
  call i32 @madvise(ptr %new, i64 %bytes, i32 14)
  br label %good
good:
  %next = add i64 %k, 1
  %more = icmp ult i64 %next, %started
  br i1 %more, label %look, label %out
out:
  ret i1 true
bad:
  ret i1 false
}
; more workers; no signal is handled by them
define internal void @start(i64 %wanted) #0 {
entry:
  %every = alloca [128 x i8], align 16
  %masked = alloca [128 x i8], align 16
  call i32 @sigfillset(ptr %every)
  call i32 @pthread_sigmask(i32 2, ptr %every, ptr %masked)
  %first = load i64, ptr @started
  br label %next
next:
  %k = phi i64 [%first, %entry], [%then, %good]
  %handle = getelementptr i64, ptr @threads, i64 %k
  %number = inttoptr i64 %k to ptr
  %code = call i32 @pthread_create(ptr %handle, ptr null, ptr @worker, ptr %number)
  %failed = icmp ne i32 %code, 0
  br i1 %failed, label %bad, label %good
good:
  %then = add i64 %k, 1
  store i64 %then, ptr @started
  %more = icmp ult i64 %then, %wanted
  br i1 %more, label %next, label %out
bad:
  store i64 1, ptr @refused
  br label %out
out:
  call i32 @pthread_sigmask(i32 2, ptr %masked, ptr null)
  ret void
}
"""

MANAGING = """
; sets how many threads take part
define i64 @adjoint_limit(i64 %limit) #0 {
  store atomic i64 %limit, ptr @limit seq_cst, align 8
  store i64 0, ptr @refused
  ret i64 0
}
; the number of workers that there are
define i64 @adjoint_started() #0 {
  %started = load i64, ptr @started
  ret i64 %started
}
; in a new process, which has no workers
define i64 @adjoint_forget() #0 {
  store i64 0, ptr @busy
  store i64 0, ptr @tickets
  store i64 0, ptr @asleep
  store i64 0, ptr @waiting
  store i64 0, ptr @stopping
  store i64 0, ptr @started
  store i64 0, ptr @refused
  call i32 @pthread_mutex_init(ptr @mutex, ptr null)
  call i32 @pthread_cond_init(ptr @wake, ptr null)
  call i32 @pthread_cond_init(ptr @finished, ptr null)
  ret i64 0
}
; ends all workers, when what they are doing is done; nobody gets them any more
define i64 @adjoint_stop() #0 {
entry:
  store atomic i64 1, ptr @limit seq_cst, align 8
  br label %enter
enter:
  %pair = cmpxchg ptr @busy, i64 0, i64 1 seq_cst seq_cst
  %mine = extractvalue {i64, i1} %pair, 1
  br i1 %mine, label %stop, label %rest
rest:
  call i32 @sched_yield()
  br label %enter
stop:
  store atomic i64 1, ptr @stopping seq_cst, align 8
  call void @ring(ptr @wake)
  %started = load i64, ptr @started
  %some = icmp ne i64 %started, 0
  br i1 %some, label %next, label %out
next:
  %k = phi i64 [0, %stop], [%then, %next]
  %handle = getelementptr i64, ptr @threads, i64 %k
  %thread = load i64, ptr %handle
  call i32 @pthread_join(i64 %thread, ptr null)
  %then = add i64 %k, 1
  %more = icmp ult i64 %then, %started
  br i1 %more, label %next, label %out
out:
  store i64 0, ptr @started
  store atomic i64 0, ptr @stopping seq_cst, align 8
  store atomic i64 0, ptr @busy seq_cst, align 8
  ret i64 0
}
"""

PAUSE = {"x86_64": ("llvm.x86.sse2.pause()", "llvm.x86.sse2.pause()"),
         "aarch64": ("llvm.aarch64.hint(i32)", "llvm.aarch64.hint(i32 1)")}


def text(processor: str, attributes: str, *, several: bool) -> str:
    """The module for a processor, ``x86_64`` or ``aarch64``.

    If not ``several``, it is that for one thread, which can be told of another module's `SHARE`.

    >>> from adjoint.compiler.sharing_ir import text
    >>> "pthread" in text("x86_64", "", several=False)
    False
    """
    parts = [STATE, WAITING, WORK, CALLING, MANAGING] if several else [SINGLE]
    found = "".join([ALONE, *parts])
    declared, called = PAUSE.get(processor, ("", ""))
    for name, value in {"[MOST": f"[{MOST}", "%next, PAUSES": f"%next, {PAUSES}",
                        "%passed, SPIN": f"%passed, {SPIN}", "%failure, FAILED":
                        f"%failure, {FAILED}", "@PAUSED": f"@{called}",
                        "@PAUSE": f"@{declared}"}.items():
        found = found.replace(name, value)
    return f"{found}{attributes}\n"
