"""The text of what shares a kernel's chunks among threads: one module for the whole process.

`share` is called by compiled functions: it computes the chunks ``0 <= k < count`` of a part, by as
many threads as are free. Chunks are *tickets*: whoever takes one, by compare and swap, computes it.
The caller takes tickets like everybody, and when none is left it waits only for chunks that others
have begun; so a worker that does not come, or does not exist any more, is never waited for. A
caller that finds the workers busy with another one's chunks computes all of its own.

A worker looks for tickets for `SPIN` nanoseconds, letting others run in between, then it sleeps
until the next caller wakes it. A caller wakes two, and each that was woken two more while there are
tickets.
Both ways of waiting are Dekker's: who sleeps says so before it looks once more, who has news says
so before it looks who sleeps; all of these are sequentially consistent.

What a job is may be read only by who has one of its tickets: it stays until all chunks are done.
"""

from __future__ import annotations

MOST = 63            # workers
SPIN = 100_000       # nanoseconds that somebody who waits looks again and again
PAUSES = 16          # between two looks at the clock
FUNCTIONS = ("pthread_create", "pthread_join", "pthread_mutex_init", "pthread_mutex_lock",
             "pthread_mutex_unlock", "pthread_cond_init", "pthread_cond_wait",
             "pthread_cond_signal", "pthread_cond_broadcast", "pthread_sigmask", "sigfillset",
             "posix_memalign", "free", "madvise", "clock_gettime", "sched_yield")

STATE = """
@limit = internal global i64 1, align 64     ; threads that take part, the caller is one
@busy = internal global i64 0, align 64      ; whether a caller has the workers
@tickets = internal global i64 0, align 64   ; chunks that nobody has taken
@done = internal global i64 0, align 64      ; chunks that are finished
@asleep = internal global i64 0, align 64    ; workers that sleep, or are about to
@waiting = internal global i64 0             ; whether the caller does
@failure = internal global i64 -1            ; chunk << 40 | code, of the first chunk that failed
@stopping = internal global i64 0
@started = internal global i64 0             ; workers
@refused = internal global i64 0             ; whether the system gave us no more of them
@part = internal global ptr null             ; the job: a function, its arguments, ...
@args = internal global ptr null
@own = internal global ptr null              ; scratch memory of the caller
@count = internal global i64 0
@mutex = internal global [64 x i8] zeroinitializer, align 64
@wake = internal global [64 x i8] zeroinitializer, align 64
@finished = internal global [64 x i8] zeroinitializer, align 64
@threads = internal global [MOST x i64] zeroinitializer
@scratch = internal global [MOST x ptr] zeroinitializer  ; of the workers
@sizes = internal global [MOST x i64] zeroinitializer

declare i32 @pthread_create(ptr, ptr, ptr, ptr)
declare i32 @pthread_join(i64, ptr)
declare i32 @pthread_mutex_init(ptr, ptr)
declare i32 @pthread_mutex_lock(ptr)
declare i32 @pthread_mutex_unlock(ptr)
declare i32 @pthread_cond_init(ptr, ptr)
declare i32 @pthread_cond_wait(ptr, ptr)
declare i32 @pthread_cond_signal(ptr)
declare i32 @pthread_cond_broadcast(ptr)
declare i32 @pthread_sigmask(i32, ptr, ptr)
declare i32 @sigfillset(ptr)
declare i32 @posix_memalign(ptr, i64, i64)
declare void @free(ptr)
declare i32 @madvise(ptr, i64, i32)
declare i32 @clock_gettime(i32, ptr)
declare i32 @sched_yield()
declare void @PAUSE
"""

WAITING = """
define internal i64 @now(ptr %room) #0 {
  call i32 @clock_gettime(i32 1, ptr %room)
  %seconds = load i64, ptr %room
  %rest = getelementptr i64, ptr %room, i64 1
  %nanoseconds = load i64, ptr %rest
  %whole = mul i64 %seconds, 1000000000
  %sum = add i64 %whole, %nanoseconds
  ret i64 %sum
}
; a little rest; whether less than SPIN has passed since a time. Whoever waits on the processor of
; the thread that it waits for lets it run
define internal i1 @spin(ptr %room, i64 %since) #0 {
entry:
  br label %rest
rest:
  %k = phi i64 [0, %entry], [%next, %rest]
  call void @PAUSED
  %next = add i64 %k, 1
  %more = icmp ult i64 %next, PAUSES
  br i1 %more, label %rest, label %look
look:
  call i32 @sched_yield()
  %time = call i64 @now(ptr %room)
  %passed = sub i64 %time, %since
  %early = icmp ult i64 %passed, SPIN
  ret i1 %early
}
; wakes all that wait for a condition: who is about to has the mutex until it does
define internal void @ring(ptr %condition) #0 {
  call i32 @pthread_mutex_lock(ptr @mutex)
  call i32 @pthread_mutex_unlock(ptr @mutex)
  call i32 @pthread_cond_broadcast(ptr %condition)
  ret void
}
"""

WORK = """
; the number of tickets before one was taken; 0 if there was none
define internal i64 @take() #0 {
entry:
  %first = load atomic i64, ptr @tickets seq_cst, align 8
  br label %look
look:
  %seen = phi i64 [%first, %entry], [%found, %try]
  %none = icmp eq i64 %seen, 0
  br i1 %none, label %out, label %try
try:
  %less = sub i64 %seen, 1
  %pair = cmpxchg ptr @tickets, i64 %seen, i64 %less seq_cst seq_cst
  %found = extractvalue {i64, i1} %pair, 0
  %won = extractvalue {i64, i1} %pair, 1
  br i1 %won, label %out, label %look
out:
  %got = phi i64 [0, %look], [%seen, %try]
  ret i64 %got
}
; computes chunks until no ticket is left; at a place stands the scratch memory of this thread
define internal void @work(ptr %place) #0 {
entry:
  br label %top
top:
  %left = call i64 @take()
  %none = icmp eq i64 %left, 0
  br i1 %none, label %out, label %run
run:
  %part = load ptr, ptr @part
  %args = load ptr, ptr @args
  %count = load i64, ptr @count
  %scratch = load ptr, ptr %place
  %k = sub i64 %count, %left
  %next = add i64 %k, 1
  %code = call i64 %part(ptr %args, ptr %scratch, i64 %k, i64 %next)
  %bad = icmp ne i64 %code, 0
  br i1 %bad, label %note, label %finish
note:
  %high = shl i64 %k, 40
  %mark = or i64 %high, %code
  %older = atomicrmw umin ptr @failure, i64 %mark seq_cst
  br label %finish
finish:
  %before = atomicrmw add ptr @done, i64 1 seq_cst
  %after = add i64 %before, 1
  %last = icmp eq i64 %after, %count
  br i1 %last, label %tell, label %top
tell:
  %waiting = load atomic i64, ptr @waiting seq_cst, align 8
  %sleeps = icmp ne i64 %waiting, 0
  br i1 %sleeps, label %call, label %out
call:
  call void @ring(ptr @finished)
  br label %out
out:
  ret void
}
; whether there is something for a worker
define internal i1 @ready(i64 %k) #0 {
  %stopping = load atomic i64, ptr @stopping seq_cst, align 8
  %stop = icmp ne i64 %stopping, 0
  %tickets = load atomic i64, ptr @tickets seq_cst, align 8
  %some = icmp ne i64 %tickets, 0
  %limit = load atomic i64, ptr @limit seq_cst, align 8
  %place = add i64 %k, 1
  %mine = icmp ult i64 %place, %limit
  %chosen = and i1 %some, %mine
  %found = or i1 %stop, %chosen
  ret i1 %found
}
define internal ptr @worker(ptr %number) #0 {
entry:
  %room = alloca [2 x i64]
  %k = ptrtoint ptr %number to i64
  %place = getelementptr ptr, ptr @scratch, i64 %k
  br label %idle
idle:
  %since = call i64 @now(ptr %room)
  br label %look
look:
  %news = call i1 @ready(i64 %k)
  br i1 %news, label %go, label %rest
rest:
  %early = call i1 @spin(ptr %room, i64 %since)
  br i1 %early, label %look, label %bed
bed:
  call i32 @pthread_mutex_lock(ptr @mutex)
  %one = atomicrmw add ptr @asleep, i64 1 seq_cst
  br label %again
again:
  %called = call i1 @ready(i64 %k)
  br i1 %called, label %up, label %sleep
sleep:
  call i32 @pthread_cond_wait(ptr @wake, ptr @mutex)
  br label %again
up:
  %less = atomicrmw sub ptr @asleep, i64 1 seq_cst
  call i32 @pthread_mutex_unlock(ptr @mutex)
  %left = load atomic i64, ptr @tickets seq_cst, align 8
  %many = icmp ugt i64 %left, 1
  br i1 %many, label %more, label %go
more:
  call i32 @pthread_cond_signal(ptr @wake)
  call i32 @pthread_cond_signal(ptr @wake)
  br label %go
go:
  %stopping = load atomic i64, ptr @stopping seq_cst, align 8
  %stop = icmp ne i64 %stopping, 0
  br i1 %stop, label %out, label %do
do:
  call void @work(ptr %place)
  br label %idle
out:
  ret ptr null
}
"""
