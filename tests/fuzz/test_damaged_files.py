"""Every kind of damaged file, given to every command that reads it: exit code 2 and one line."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

ROOT = Path(__file__).parents[2]
NOISE = random.Random(0).randbytes(3000)

Damage = Callable[[Path], object]


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


def _cut(share: float) -> Damage:
    return lambda path: path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])


def _middle(path: Path) -> None:
    content = path.read_bytes()
    at = len(content) // 2
    path.write_bytes(content[: at - 100] + NOISE[:200] + content[at + 100 :])


DAMAGES: dict[str, Damage] = {
    "empty": lambda path: path.write_bytes(b""),
    "cut in half": _cut(0.5),
    "its head alone": lambda path: path.write_bytes(path.read_bytes()[:16]),
    "noise": lambda path: path.write_bytes(NOISE),
    "noise behind its head": lambda path: path.write_bytes(path.read_bytes()[:16] + NOISE),
    "zeros": lambda path: path.write_bytes(bytes(3000)),
    "text": lambda path: path.write_text("this is no such file\n"),
    "a page": lambda path: path.write_text("<!DOCTYPE html><html><body>404</body></html>"),
    "noise in its middle": _middle,
    "a folder": _folder,
    "a pipe": _pipe,
    "a link to itself": _loop,
    "gone": lambda path: path.unlink(),
}


def _turned(share: float) -> Damage:
    """A bit turned so far behind the file's begin."""

    def damage(path: Path) -> None:
        content = bytearray(path.read_bytes())
        content[int(len(content) * share)] ^= 1 << int(1000 * share) % 8
        path.write_bytes(content)

    return damage


# What runtimes find where our readers don't; a command may also find nothing.
TURNED = {
    f"a bit turned at {n} %": _turned(n / 100) for n in (2, 9, 17, 33, 46, 58, 71, 83, 92, 98)
}
# A file with damage in its middle, or zeros in it, may be whole as far as a command can tell.
_MAY_PASS = frozenset({"noise in its middle", *TURNED})

_OUT = ("-o", "out")
_KERAS = ("-o", "out.keras")
_MODEL: dict[str, tuple[str, ...]] = {
    "inspect": ("{}",),
    "doctor": ("{}",),
    "strip": ("{}", *_KERAS),
    "prune": ("{}", *_KERAS, "--sparsity", "0.5"),
    "finetune": ("{}", "--data", "good.npz", "--epochs", "1", *_KERAS),
    "lr-find": ("{}", "--data", "good.npz"),
    "advise": ("{}", "--data", "good.npz"),
    "sensitivity": ("{}", "--data", "good.npz"),
    "unfreeze-search": ("{}", "--data", "good.npz", *_OUT),
    "verify": ("{}", "m.tflite"),
    "export": ("{}", *_OUT, "--format", "tflite"),
    "compress": ("{}", "--data", "good.npz", *_OUT),
}
_ARTIFACT: dict[str, tuple[str, ...]] = {
    "inspect": ("{}",),
    "doctor": ("{}",),
    "verify": ("m.keras", "{}"),
    "benchmark": ("{}", "--runs", "5"),
    "export": ("{}", *_OUT, "--format", "tflite", "--format", "onnx"),
}
_DATA: dict[str, tuple[str, ...]] = {
    "doctor": ("m.keras", "--data", "{}", "--target", "t"),
    "finetune": ("m.keras", "--data", "{}", "--target", "t", "--epochs", "1", *_KERAS),
    "prune": ("m.keras", "--data", "{}", "--target", "t", *_KERAS, "--sparsity", "0.5"),
    "lr-find": ("m.keras", "--data", "{}", "--target", "t"),
    "advise": ("m.keras", "--data", "{}", "--target", "t"),
    "sensitivity": ("m.keras", "--data", "{}", "--target", "t"),
    "unfreeze-search": ("m.keras", "--data", "{}", "--target", "t", *_OUT),
    "verify": ("m.keras", "m.tflite", "--data", "{}", "--target", "t"),
    "benchmark": ("m.tflite", "--runs", "5", "--data", "{}", "--target", "t"),
    "export": ("m.keras", *_OUT, "--format", "tflite", "--quantize", "int8", "--data", "{}",
               "--target", "t"),
    "compress": ("m.keras", "--data", "{}", "--target", "t", *_OUT),
}  # fmt: skip
READERS: dict[str, dict[str, tuple[str, ...]]] = {
    "m.keras": _MODEL,
    "m.h5": _MODEL,
    "m.tflite": _ARTIFACT,
    "m.onnx": _ARTIFACT,
    "good.npz": _DATA,
    "t.csv": _DATA,
    "t.parquet": _DATA,
    "images/a/1.png": {
        verb: tuple(w.replace("m.keras", "g.keras").replace("m.tflite", "g.tflite") for w in words)
        for verb, words in _DATA.items()
    },
    "r.yaml": {"compress": ("{}", *_OUT)},
    "s.yaml": {"search": ("{}", "--trials", "1", *_OUT)},
    "bench.json": {
        "benchmark": ("m.tflite", "--runs", "5", "--against", "{}"),
        "report": ("{}", "-o", "out.html"),
    },
    # A run that goes on writes its record again.
    "run/run.json": {"report": ("run", "-o", "out.html")},
    "run/recipe.yaml": {"compress": ("--resume", "run")},
    "layers.py": {"inspect": ("m.keras", "--custom-objects", "{}")},
    "devices.yaml": {
        "devices": ("list",),
        "benchmark": ("m.tflite", "--runs", "5", "--device", "board"),
    },
}
# What is no fault of the file: a command does without it, or makes it again.
_FINE = frozenset(
    {("devices.yaml", "empty"), ("devices.yaml", "gone"), ("devices.yaml", "a link to itself"),
     ("devices.yaml", "its head alone"),  # which is all of it
     ("images/a/1.png", "gone"),
     ("layers.py", "empty"), ("images/a/1.png", "a folder"), ("images/a/1.png", "a pipe"),
     ("images/a/1.png", "a link to itself"), ("run/run.json", "gone")}
)  # fmt: skip


@pytest.fixture(scope="module")
def whole(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole file of every kind."""
    folder = tmp_path_factory.mktemp("whole") / "files"
    shutil.copytree(base, folder)
    _more(folder)
    return folder


def _more(folder: Path) -> None:
    import numpy as np
    import pandas
    from PIL import Image

    rows = np.random.default_rng(0).normal(size=(24, 4)).astype(np.float32)
    table = pandas.DataFrame(rows, columns=list("abcd")).assign(t=np.arange(24) % 3)
    table.to_csv(folder / "t.csv", index=False)
    table.to_parquet(folder / "t.parquet")
    for name in "abc":
        (folder / "images" / name).mkdir(parents=True)
        for number in range(4):
            pixels = np.full((8, 8), 20 * number, np.uint8)
            Image.fromarray(pixels).save(folder / "images" / name / f"{number}.png")
    (folder / "layers.py").write_text("class Own:\n    pass\n")
    (folder / "devices.yaml").write_text("board: local\n")
    shutil.copy(folder / "m.tflite", folder / "g.tflite")


@pytest.fixture
def place(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of them as the working folder."""
    folder = tmp_path / "place"
    shutil.copytree(whole, folder)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("EDGEPRESS_DEVICES", str(folder / "devices.yaml"))
    return folder


def _fault(file: str, verb: str, damage: str, base: Path) -> str:
    """What is wrong with how a command meets a damaged file; empty where nothing is."""
    from edgepress.deploy.cli import main

    path = Path(file)
    whole = "images" if file.startswith("images") else file
    (DAMAGES | TURNED)[damage](path)
    words = [verb, *(word.format(whole) for word in READERS[file][verb])]
    code, out, err = _called(main, words)
    lines = [line for line in err.splitlines() if line.startswith("edgepress: error: ")]
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    shutil.copy(base / file, path)
    fine = (0, 1, 2) if damage in _MAY_PASS or (file, damage) in _FINE else (2,)
    bad = code not in fine or "Traceback" in err or "internal failure" in err
    if bad or (code == 2 and (len(lines) != 1 or out)):
        return f"{file} {damage}: {' '.join(words)}: {code}: {out[-200:]}{err[-400:]}"
    return ""


def _called(main: Callable[[list[str]], None], words: list[str]) -> tuple[int, str, str]:
    """Exit code and what was said."""
    import click

    result = CliRunner().invoke(
        click.Command("edgepress", callback=lambda: main(words)), [], catch_exceptions=True
    )
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        return 70, result.stdout, f"Traceback {result.exception!r}"
    return result.exit_code, result.stdout, result.stderr


@pytest.mark.slow
@pytest.mark.parametrize(("file", "verb"), [(f, v) for f in READERS for v in READERS[f]])
def test_every_damage_of_every_file_is_one_line(
    file: str, verb: str, place: Path, whole: Path
) -> None:
    damages = DAMAGES | (TURNED if file in ("m.tflite", "m.onnx") else {})
    faults = [_fault(file, verb, damage, whole) for damage in damages]
    assert list(filter(None, faults)) == []
