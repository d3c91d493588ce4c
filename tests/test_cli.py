"""The command line: what it prints, what it writes, and how it refuses."""

import io
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from rich.console import Console

import adjoint as ad
from adjoint import cli
from adjoint.cli import training

SHORT = ["train", "digits", "--epochs", "2"]


def refused(capsys, *argv):
    with pytest.raises(SystemExit) as stop:
        cli.main(argv)
    assert stop.value.code == 2
    text = capsys.readouterr()
    assert not text.out
    return text.err


def test_demo_prints_the_trace_trains_and_draws(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["demo", "--epochs", "3"]) == 0
    text = capsys.readouterr().out
    for number in ("0.693", "-0.959", "10.693", "11.652", "-0.284", "1.716", "5.5"):
        assert number in text
    for fact in ("1,797", "1,078 to train, 360 to validate, 359 to test", "seed 0",
                 "batch size 16", "scaling", "test accuracy", "epoch 3/3"):
        assert fact in text
    picture = tmp_path / "adjoint-digits-loss.png"
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert text.count("test accuracy") == 1


def test_the_default_training_reaches_its_goal(capsys):
    assert cli.main(["train", "digits", "--quiet"]) == 0
    text = capsys.readouterr().out
    assert float(re.search(r"test accuracy ([\d.]+)%", text)[1]) >= 96.0
    assert len(text.splitlines()) == 1


def test_the_test_set_is_used_once_and_last(monkeypatch, capsys):
    seen = []
    real = training.evaluate
    monkeypatch.setattr(training, "evaluate", lambda net, part: seen.append(len(part[1])) or real(
        net, part))
    assert cli.main([*SHORT, "--quiet"]) == 0
    assert seen == [360, 360, 359]


def test_a_seed_repeats_a_training(capsys):
    results = []
    for seed in ("4", "4", "5"):
        assert cli.main([*SHORT, "--seed", seed]) == 0
        results.append(re.findall(r"loss \d+\.\d+", capsys.readouterr().out))
    assert results[0] == results[1]
    assert results[0] != results[2]


@pytest.mark.parametrize("options", [
    ["--optimizer", "sgd", "--lr", "0.1"], ["--optimizer", "adamw"], ["--dtype", "float64"],
    ["--hidden", "none"], ["--hidden", "16"], ["--hidden", "8, 8,8"], ["--batch-size", "5000"]])
def test_every_option_is_obeyed(capsys, options):
    assert cli.main([*SHORT, *options]) == 0
    text = capsys.readouterr().out
    told = {"sgd": "SGD", "adamw": "AdamW", "none": "64-10", "16": "64-16-10", "8, 8,8": "64-8-8-8"}
    assert told.get(options[1], options[1]) in text


def test_a_bar_on_a_terminal_shows_loss_accuracy_and_time_left(monkeypatch):
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    args = cli.build_parser()[0].parse_args([*SHORT])
    args.picture = None
    assert training.run_training(console, args) == 0
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", console.file.getvalue())
    assert re.search(r"epoch 2/2 \S+ loss \d\.\d{4} accuracy \d+\.\d\d% 0:00:00 left", text)


def test_no_examples_leak_between_the_parts():
    parts = training.prepare(0, "float32")
    rows = [{x.tobytes() for x in part[0]} for part in parts]
    assert [len(p[1]) for p in parts] == [1078, 360, 359]
    assert not rows[0] & rows[1]
    assert not rows[0] & rows[2]
    np.testing.assert_allclose(parts.train[0].mean(0), 0.0, atol=1e-5)
    assert abs(parts.test[0].mean(0)).max() > 1e-3


# ---- refusals

@pytest.mark.parametrize(("argv", "words"), [
    (["dmeo"], ["command 'dmeo'", "did you mean demo?"]),
    (["xyz"], ["there is explain, demo, train"]),
    (["train"], ["required: DATA"]),
    (["train", "digit"], ["data set 'digit'", "did you mean digits?"]),
    ([*SHORT, "--epcohs", "3"], ["option '--epcohs'", "did you mean --epochs?"]),
    ([*SHORT, "--epoch=3"], ["option '--epoch'", "did you mean --epochs?"]),
    (["--versoin"], ["did you mean --version?"]),
    ([*SHORT, "--optimizer", "adma"], ["optimizer 'adma'", "did you mean adam?"]),
    ([*SHORT, "--hidden", "64x64"], ["'64x64'", "write 64,64"]),
    ([*SHORT, "--hidden", "64,0"], ["write 64,"]),
    ([*SHORT, "--hidden", "wide"], ["write 64,64"]),
    ([*SHORT, "--epochs", "0"], ["--epochs", "integer of at least 1"]),
    ([*SHORT, "--seed", "-1"], ["--seed", "at least 0"]),
    ([*SHORT, "--lr", "0"], ["--lr", "positive number"]),
    ([*SHORT, "--lr", "inf"], ["positive number"]),
    ([*SHORT, "--dtype", "int8"], ["there is float32, float64"]),
    ([*SHORT, "extra"], ["'extra' is one argument too many"])])
def test_what_is_unknown_is_refused_with_a_suggestion(capsys, argv, words):
    text = refused(capsys, *argv)
    assert "Traceback" not in text
    assert "--help" in text
    for word in words:
        assert word in text


@pytest.mark.parametrize(("name", "words"), [
    ("loss.bmp", "write loss.png"), ("nowhere/loss.png", "does not exist")])
def test_a_picture_that_cannot_be_written_is_refused_at_once(capsys, tmp_path, name, words):
    assert cli.main([*SHORT, "--picture", str(tmp_path / name)]) == 2
    text = capsys.readouterr()
    assert words in text.err
    assert "test accuracy" not in text.out


@pytest.mark.parametrize(("module", "package", "argv"), [
    ("matplotlib", "matplotlib", ["demo"]), ("sklearn.datasets", "scikit-learn", SHORT)])
def test_a_missing_package_is_named_with_its_pip_line(capsys, monkeypatch, module, package, argv):
    monkeypatch.setitem(sys.modules, module, None)
    assert cli.main(argv) == 1
    text = capsys.readouterr()
    assert f"{sys.executable} -m pip install {package}" in text.err
    assert "test accuracy" not in text.out


def test_steps_that_are_too_long_end_with_advice(capsys):
    assert cli.main([*SHORT, "--optimizer", "sgd", "--lr", "1e6"]) == 1
    text = capsys.readouterr()
    assert "Try --lr 100000" in text.err
    assert "test accuracy" not in text.out


def test_an_interrupt_ends_quietly(capsys, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt
    monkeypatch.setattr(training, "train", interrupt)
    assert cli.main(SHORT) == 130
    assert "stopped" in capsys.readouterr().err


# ---- as a process

def run(*argv, **kwargs):
    return subprocess.run([sys.executable, "-m", "adjoint", *argv], capture_output=True, text=True,
                          check=False, timeout=120, **kwargs)


def test_version_and_help_of_the_process():
    assert run("--version").stdout == f"adjoint {ad.__version__}\n"
    text = run("--help").stdout
    assert "demo" in text
    assert "train" in text
    assert run().stdout == text
    assert "--hidden SIZES" in run("train", "--help").stdout


def test_a_process_that_is_refused_has_status_two():
    done = run("train", "digits", "--hiden", "3")
    assert done.returncode == 2
    assert "did you mean --hidden?" in done.stderr


def test_an_old_terminal_and_a_closed_pipe_bring_no_traceback(tmp_path):
    old = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = run("demo", "--epochs", "1", cwd=tmp_path, env=old)
    assert done.returncode == 0, done.stderr
    assert "1.716" in done.stdout
    command = f'"{sys.executable}" -m adjoint demo --epochs 1 | head -n 1'
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False,
                          cwd=tmp_path, timeout=120)
    assert "Traceback" not in done.stderr
