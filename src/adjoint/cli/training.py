"""`adjoint train` and `adjoint demo`: a network learns real digits.

`prepare` and `train` do the work, and the two `Report` classes print its progress, on a terminal
and elsewhere.
"""

from __future__ import annotations

import math
import sys
import time
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

import adjoint as ad
from adjoint import data, nn, optim, show

from .parsing import hidden, rate, whole

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    from rich.console import Console

    from .parsing import Parser

DATA_SETS = ("digits",)
OPTIMIZERS: dict[str, Any] = {"adam": optim.Adam, "adamw": optim.AdamW, "sgd": optim.SGD}
PICTURE = "adjoint-digits-loss.png"
REFRESH = 0.1  # seconds between two updates of the progress bar


# ---- the command line

def add_commands(commands: Any) -> dict[str, Parser]:
    """Add `demo` and `train` to the parser."""
    demo = commands.add_parser(
        "demo", allow_abbrev=False, help="show a derivative as a table, then train on real digits",
        description="Prints the forward and reverse trace of y = ln(x1) + x1 x2 - sin(x2), then "
        "trains a network on the 1,797 handwritten digits of scikit-learn and draws its loss.")
    train = commands.add_parser(
        "train", allow_abbrev=False, help="train a network", description="Trains a multilayer "
        "perceptron, 60 % of the examples for training, 20 % to watch it, 20 % to test it once.")
    train.add_argument("data", metavar="DATA", choices=DATA_SETS, help="the data set: digits")
    for parser in (demo, train):
        add_settings(parser)
    demo.set_defaults(picture=PICTURE, data="digits", run=run_demo)
    train.set_defaults(run=run_training)
    return {"demo": demo, "train": train}


def add_settings(parser: Parser) -> None:
    """The options of a training."""
    def add(name: str, kind: Any, default: Any, text: str, metavar: str, **more: Any) -> None:
        parser.add_argument(name, type=kind, default=default, metavar=metavar,
                            help=f"{text} (default: %(default)s)", **more)
    add("--hidden", hidden, "64,64", "sizes of the hidden layers", "SIZES")
    add("--epochs", whole(1), 30, "passes over the training set", "N")
    add("--lr", rate, 1e-3, "learning rate", "RATE")
    add("--optimizer", str, "adam", f"one of {', '.join(OPTIMIZERS)}", "NAME",
        choices=tuple(OPTIMIZERS))
    add("--batch-size", whole(1), 16, "examples in a mini-batch", "N")
    add("--seed", whole(0), 0, "seed of the split, the weights and the order", "N")
    add("--dtype", str, "float32", "float32 or float64", "DTYPE", choices=("float32", "float64"))
    parser.add_argument("--picture", metavar="PATH", help="draw the loss into this file")
    parser.add_argument("--quiet", action="store_true", help="print the result only")


# ---- the work

class Examples(NamedTuple):
    """The three parts of a data set, scaled by the training part alone."""

    train: tuple[Any, Any]
    validation: tuple[Any, Any]
    test: tuple[Any, Any]


class Epoch(NamedTuple):
    """What one pass over the training set came to."""

    loss: float
    accuracy: float
    validation_loss: float
    validation_accuracy: float


def prepare(seed: int, dtype: str) -> Examples:
    """The digits, split 60/20/20 by class and scaled by the training part."""
    x, labels = data.digits()
    parts = data.split(x, labels, (0.6, 0.2, 0.2), seed)
    *scaled, _ = data.standardise(*[part[0] for part in parts], common=True)
    return Examples(*[(images.astype(dtype), part[1])
                      for images, part in zip(scaled, parts, strict=True)])


def build(sizes: Sequence[int], dtype: str, rng: np.random.Generator) -> nn.Sequential:
    """A multilayer perceptron with a ReLU between its linear layers."""
    layers: list[Any] = []
    for n, m in pairwise(sizes):
        layers += [nn.ReLU()] * bool(layers) + [nn.Linear(n, m, dtype=dtype, rng=rng)]
    return nn.Sequential(*layers)


def evaluate(net: nn.Module, part: tuple[Any, Any]) -> tuple[float, float]:
    """Loss and accuracy on one part of the examples."""
    with ad.no_grad():
        logits = net(part[0])
        loss = nn.functional.cross_entropy(logits, part[1])
    return float(loss), nn.functional.accuracy(logits, part[1])


def train(net: nn.Module, optimizer: optim.Optimizer, examples: Examples, args: Any,
          rng: np.random.Generator, report: Report) -> list[Epoch]:
    """Mini-batch gradient descent; stops early only if the loss is no longer a number."""
    history: list[Epoch] = []
    count = len(examples.train[1])
    for epoch in range(args.epochs):
        total, right, seen = 0.0, 0, 0
        for x, labels in data.batches(*examples.train, args.batch_size, rng):
            logits = net(x)
            loss = nn.functional.cross_entropy(logits, labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            size = len(labels)
            total, seen = total + loss.item() * size, seen + size
            right += int((logits.detach().numpy().argmax(1) == labels).sum())
            report.batch(epoch + seen / count, total / seen, right / seen)
        history.append(Epoch(total / count, right / count, *evaluate(net, examples.validation)))
        report.epoch(len(history), history[-1])
        if not math.isfinite(history[-1].loss):
            break
    return history


# ---- what is printed

class Report:
    """Progress where there is no terminal: a plain line for every tenth of the epochs."""

    def __init__(self, console: Console, epochs: int, quiet: bool) -> None:
        self.console, self.epochs, self.quiet = console, epochs, quiet
        self.start = time.perf_counter()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is left open."""

    def batch(self, done: float, loss: float, accuracy: float) -> None:
        """After each mini-batch: ``done`` epochs, and the running loss and accuracy."""

    def epoch(self, number: int, now: Epoch) -> None:
        """After each epoch."""
        step = max(1, self.epochs // 10)
        if self.quiet or not (number % step == 0 or number in {1, self.epochs}):
            return
        spent = time.perf_counter() - self.start
        left = spent / number * (self.epochs - number)
        self.console.print(
            f"epoch {number:>{len(str(self.epochs))}}/{self.epochs}  loss {now.loss:.4f}  accuracy "
            f"{now.accuracy:7.2%}  validation loss {now.validation_loss:.4f}  {left:.1f} s left",
            highlight=False, soft_wrap=True)


class Bar(Report):
    """Progress on a terminal: a bar with loss, accuracy and the time left."""

    def __init__(self, console: Console, epochs: int, quiet: bool) -> None:
        super().__init__(console, epochs, quiet)
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
        self.bar = Progress(
            TextColumn("epoch {task.fields[number]}/{task.total}"), BarColumn(bar_width=24),
            TextColumn("{task.fields[state]}"), TimeRemainingColumn(), TextColumn("left"),
            console=console)
        self.task = self.bar.add_task("", total=epochs, number=1, state="")
        self.last = 0.0

    def __enter__(self) -> Self:
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def batch(self, done: float, loss: float, accuracy: float) -> None:
        """Move the bar, ten times a second at most: drawing it costs more than a mini-batch."""
        now = time.perf_counter()
        if now - self.last >= REFRESH or done >= self.epochs:
            self.last = now
            self.bar.update(self.task, completed=done, number=math.ceil(done),
                            state=f"loss {loss:.4f} accuracy {accuracy:.2%}")

    def epoch(self, number: int, now: Epoch) -> None:
        """The bar has moved already."""


def y(x1: Any, x2: Any) -> Any:
    """The example that every survey begins with."""
    return np.log(x1) + x1 * x2 - np.sin(x2)


def show_trace(console: Console) -> None:
    """The forward and the reverse trace of that example, beside each other."""
    e = ad.explain(y, 2.0, 5.0)
    console.print("[bold]y = ln(x1) + x1 x2 - sin(x2)[/bold] at x1 = 2, x2 = 5\n")
    console.print(e.table(source=None, partials=False))
    slopes = ", ".join(f"dy/d{name} = {e.adjoint(name):.12g}" for name in ("x1", "x2"))
    console.print(f"\n{slopes}\n", highlight=False)


def describe(console: Console, args: Any, examples: Examples, net: nn.Module) -> None:
    """What will be trained, on what, and how."""
    sizes = [len(part[1]) for part in examples]
    widths = "-".join(map(str, (64, *args.hidden, 10)))
    numbers = sum(p.aval.size for p in net.parameters())
    rows = {
        "data": f"{sum(sizes):,} handwritten digits of 8x8 pixels, 10 classes (scikit-learn)",
        "split": f"{sizes[0]:,} to train, {sizes[1]} to validate, {sizes[2]} to test; stratified; "
                 f"seed {args.seed}",
        "scaling": "pixels centred, then divided by one deviation, both of the training part",
        "network": f"{widths}, ReLU, {numbers:,} parameters, {args.dtype}",
        "training": f"{OPTIMIZERS[args.optimizer].__name__}, learning rate {args.lr:g}, batch "
                    f"size {args.batch_size}, {args.epochs} epochs, cross-entropy"}
    for name, text in rows.items():
        console.print(f"{name:<9} {text}", highlight=False, soft_wrap=True)
    console.print()


def run_training(console: Console, args: Any) -> int:
    """Train, test once, draw the picture; the exit status."""
    if args.picture:
        show.check_picture(args.picture)
    examples = prepare(args.seed, args.dtype)
    weights, order = np.random.default_rng(args.seed).spawn(2)
    net = build((64, *args.hidden, 10), args.dtype, weights)
    optimizer = OPTIMIZERS[args.optimizer](net.parameters(), lr=args.lr)
    if not args.quiet:
        describe(console, args, examples, net)
    kind = Bar if console.is_terminal and not args.quiet else Report
    start = time.perf_counter()
    # Steps that are too long overflow, and the loss says so: no warning from within is needed.
    with kind(console, args.epochs, args.quiet) as report, np.errstate(all="ignore"):
        history = train(net, optimizer, examples, args, order, report)
    spent, last = time.perf_counter() - start, history[-1]
    if not math.isfinite(last.loss):
        print(f"adjoint: the loss became {last.loss} in epoch {len(history)}: the steps are too "
              f"long. Try --lr {args.lr / 10:g}.", file=sys.stderr)
        return 1
    tell_result(console, args, history, spent, evaluate(net, examples.test), len(examples.test[1]))
    return 0


def tell_result(console: Console, args: Any, history: Sequence[Epoch], spent: float,
                tested: tuple[float, float], count: int) -> None:
    """The last lines: what was reached, and where the picture is."""
    last = history[-1]
    if not args.quiet:
        console.print(
            f"\ntrained in {spent:.1f} s to loss {last.loss:.4f}; on the validation set loss "
            f"{last.validation_loss:.4f}, accuracy {last.validation_accuracy:.2%}",
            highlight=False, soft_wrap=True)
    console.print(f"[bold]test accuracy {tested[1]:.2%}[/bold] ({round(tested[1] * count)} of "
                  f"{count} digits that the training never saw)", highlight=False)
    if args.picture:
        losses = {"training": [e.loss for e in history],
                  "validation": [e.validation_loss for e in history]}
        show.loss_curve(losses, args.picture, f"Handwritten digits: loss over {len(history)} "
                        f"epochs, test accuracy {tested[1]:.1%}")
        console.print(f"loss curve in {args.picture}", highlight=False, soft_wrap=True)


def run_demo(console: Console, args: Any) -> int:
    """The traces, then the training; the exit status."""
    if not args.quiet:
        show_trace(console)
    return run_training(console, args)
