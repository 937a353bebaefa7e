"""Generators of what should work: networks that fit together, data that fits them, real options.

Most cases get past all refusals, so that training, pruning, export and searches are reached.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from fuzz_bytes import edited, json_bytes, mutated
from fuzz_case import OUTPUT, Case
from fuzz_data import npz
from hypothesis import strategies as st
from make_base import QUICK_FIT

# What may follow at each rank of tensors, and the rank behind it.
_AT_RANK: dict[int, tuple[tuple[str, int], ...]] = {
    4: (
        ("Conv2D({n}, 3, padding='same', activation='{a}')", 4),
        ("DepthwiseConv2D(3, padding='same')", 4),
        ("SeparableConv2D({n}, 3, padding='same')", 4),
        ("BatchNormalization()", 4),
        ("Activation('{a}')", 4),
        ("SpatialDropout2D(0.2)", 4),
        ("LayerNormalization()", 4),
        ("ZeroPadding2D(1)", 4),
        ("Conv2DTranspose({n}, 2)", 4),
        ("GlobalAveragePooling2D()", 2),
        ("Flatten()", 2),
        ("Reshape((-1, {c}))", 3),
    ),
    3: (
        ("Conv1D({n}, 3, padding='same')", 3),
        ("Dense({n}, activation='{a}')", 3),
        ("LSTM({n}, return_sequences=True)", 3),
        ("GRU({n})", 2),
        ("LayerNormalization()", 3),
        ("UnitNormalization()", 3),
        ("GlobalMaxPooling1D()", 2),
        ("Flatten()", 2),
    ),
    2: (
        ("Dense({n}, activation='{a}')", 2),
        ("BatchNormalization()", 2),
        ("Dropout(0.3)", 2),
        ("PReLU()", 2),
        ("LeakyReLU()", 2),
        ("Rescaling(0.5)", 2),
    ),
}
_INPUTS = {4: (8, 8, 3), 3: (6, 5), 2: (7,)}
_CLASSES = 3


@st.composite
def _network(draw: st.DrawFn) -> tuple[str, tuple[int, ...]]:
    """Code of a function `f` that returns a classifier, and the shape of one sample."""
    rank = draw(st.sampled_from(sorted(_INPUTS)))
    shape, layers = _INPUTS[rank], []
    for _ in range(draw(st.integers(1, 6))):
        text, rank = draw(st.sampled_from(_AT_RANK[rank]))
        width = draw(st.sampled_from([1, 3, 4, 7, 12]))
        layers.append(
            text.format(n=width, c=1, a=draw(st.sampled_from(["relu", "tanh", "swish", "gelu"])))
        )
    if rank > 2:
        layers.append("Flatten()")
    stack = "".join(f"    x = L.{layer}(x)\n" for layer in layers)
    return (
        "import keras\nL = keras.layers\ndef f():\n    keras.utils.set_random_seed(0)\n"
        f"    x = i = keras.Input({shape})\n{stack}"
        f"    return keras.Model(i, L.Dense({_CLASSES}, activation='softmax')(x))\n"
    ), shape


def _data(shape: tuple[int, ...]) -> bytes:
    random = np.random.default_rng(0)
    x = random.normal(size=(24, *shape)).astype(np.float32)
    return npz({"x": x, "y": np.arange(24) % _CLASSES})


_WITH = ("net.py:f", "--data", "d.npz")
_KERAS, _FOLDER = ("-o", f"{OUTPUT}.keras"), ("-o", OUTPUT)
_USES: tuple[tuple[str, ...], ...] = (
    ("finetune", *_WITH, *_KERAS, "--epochs", "2", "--batch-size", "8"),
    ("finetune", *_WITH, *_KERAS, "--epochs", "1", "--optimizer", "sgd", "--mixed-precision"),
    ("prune", *_WITH, *_KERAS, "--sparsity", "0.6", "--recover-epochs", "1"),
    ("prune", *_WITH, *_KERAS, "--structure", "channels", "--target-macs", "0.6"),
    ("prune", *_WITH, *_KERAS, "--structure", "channels", "--target-size", "0.7"),
    ("prune", *_WITH, *_KERAS, "--structure", "nm", "--pattern", "2:4"),
    ("prune", *_WITH, *_KERAS, "--structure", "blocks", "--sparsity", "0.5"),
    ("export", *_WITH, *_FOLDER, "--format", "tflite", "--quantize", "int8"),
    ("export", *_WITH, *_FOLDER, "--format", "tflite", "--quantize", "float16"),
    ("export", *_WITH, *_FOLDER, "--format", "onnx", "--quantize", "int8"),
    ("export", *_WITH, *_FOLDER, "--format", "onnx", "--quantize", "dynamic"),
    ("doctor", *_WITH),
    ("advise", *_WITH),
    ("sensitivity", *_WITH),
    ("lr-find", *_WITH, "--steps", "10"),
    ("inspect", "net.py:f"),
    ("strip", "net.py:f", *_KERAS),
    ("compress", *_WITH, *_FOLDER, "--epochs", "1", "--runs", "5"),
)


@st.composite
def sound_cases(draw: st.DrawFn) -> Case:
    """Networks, data and commands that should all work."""
    text, shape = draw(_network())
    files = {"net.py": text.encode(), "d.npz": _data(shape)}
    return Case("sound", draw(st.sampled_from(_USES)), files)


@st.composite
def fit_cases(draw: st.DrawFn, base: Path) -> Case:
    """Fits whose record, picks or recipe was edited, cut or repeated."""
    run, files = _copied(base, "fit")
    picks = sorted(n for n in files if "/picks/" in n and n.endswith((".yaml", ".tflite")))
    trials = sorted(n for n in files if "/trials/" in n and n.endswith((".json", ".yaml")))
    whole = f"{run}/fit.json"
    name = draw(st.sampled_from([whole] * 6 + [f"{run}/recipe.yaml", *picks, *trials]))
    content = files[name]
    if name == whole and draw(st.integers(0, 3)):
        content = json_bytes(draw(edited(json.loads(content))))
    else:
        content = draw(mutated(content))
    recipe = next(n for n in picks if n.endswith(".yaml"))
    words = draw(
        st.sampled_from(
            [
                ("fit", "--resume", run, "--time", "1s"),
                ("report", run, "-o", f"{OUTPUT}.html"),
                ("report", run, "-o", f"{OUTPUT}.md"),
                ("compress", recipe, "-o", "mine"),
            ]
        )
    )
    return Case("fits", words, files | {name: content, "mine/keep.txt": b"mine"})


@st.composite
def checkpoint_cases(draw: st.DrawFn, base: Path) -> Case:
    """A stopped training whose state was edited, damaged or joined by another file."""
    content = (base / "state" / "training.npz").read_bytes()
    how = draw(st.sampled_from(["bytes", "array", "array", "facts", "facts", "another file"]))
    files = {}
    if how == "bytes":
        content = draw(mutated(content))
    elif how == "another file":
        name = draw(
            st.sampled_from(["mine.txt", "training.json", "x.npz", "a/b", "published.json"])
        )
        files[f".{OUTPUT}.keras.state/{name}"] = b"mine"
    else:
        arrays = dict(np.load(io.BytesIO(content)))
        name = "facts" if how == "facts" else draw(st.sampled_from(sorted(arrays)))
        if how == "facts":
            told = json_bytes(draw(edited(json.loads(arrays[name].tobytes()))))
            arrays[name] = np.frombuffer(told, np.uint8)
        elif draw(st.booleans()):
            del arrays[name]
        else:
            shape = draw(st.sampled_from([(), (1,), (4, 8), (8, 4), (0,)]))
            arrays[name] = np.ones(shape, draw(st.sampled_from(["f4", "i8", "U3", "c8", "?"])))
        content = npz(arrays)
    files[f".{OUTPUT}.keras.state/training.npz"] = content
    words = ("finetune", "m.keras", "--data", "good.npz", "--epochs", "3", *_KERAS, "--resume")
    return Case("checkpoints", words, files)


def _copied(base: Path, name: str) -> tuple[str, dict[str, bytes]]:
    """A folder of the base under a name that commands may write, and its files."""
    run = f"{OUTPUT}-{name}"
    found = (p for p in (base / name).rglob("*") if p.is_file())
    return run, {f"{run}/{p.relative_to(base / name)}": p.read_bytes() for p in found}


@st.composite
def search_cases(draw: st.DrawFn, base: Path) -> Case:
    """Searches whose journal, record or recipe was edited, cut or repeated."""
    run, files = _copied(base, "search")
    name = draw(st.sampled_from(["study.journal"] * 4 + ["search.json", "recipe.yaml"]))
    content = files[f"{run}/{name}"]
    if name == "study.journal" and draw(st.booleans()):
        content = draw(_edited_lines(content))
    else:
        content = draw(mutated(content))
    trials = str(draw(st.sampled_from([1, 1, 2])))
    words = draw(
        st.sampled_from(
            [
                ("search", "--resume", run, "--trials", trials),
                ("search", "--resume", run, "--trials", trials),
                ("report", run, "-o", f"{OUTPUT}.html"),
            ]
        )
    )
    return Case("searches", words, files | {f"{run}/{name}": content})


@st.composite
def _edited_lines(draw: st.DrawFn, content: bytes) -> bytes:
    """A journal with a line edited, left out, repeated or moved."""
    lines = content.splitlines()
    at = draw(st.integers(0, len(lines) - 1))
    how = draw(st.sampled_from(["edit", "edit", "drop", "repeat", "move", "end"]))
    if how == "edit":
        value: Any = draw(edited(json.loads(lines[at])))
        lines[at] = json.dumps(value).encode()
    elif how == "drop":
        del lines[at]
    elif how == "repeat":
        lines.insert(at, lines[at])
    elif how == "move":
        lines.insert(draw(st.integers(0, len(lines) - 1)), lines.pop(at))
    else:
        lines = lines[: at + 1]
    return b"\n".join(lines) + b"\n"


_READ = ("m.keras", "good.npz", "m.tflite", "r.yaml", "bench.json", "run/run.json", "run", ".")
WRITERS = (
    ("finetune", "m.keras", "--data", "good.npz", "--epochs", "1", "-o", f"{OUTPUT}/x.keras"),
    ("prune", "m.keras", "--sparsity", "0.5", "-o", f"{OUTPUT}/x.keras"),
    ("strip", "m.keras", "-o", f"{OUTPUT}/x.keras"),
    ("export", "m.keras", "--format", "tflite", "-o", f"{OUTPUT}/x"),
    ("compress", "r.yaml", "-o", f"{OUTPUT}/x"),
    ("search", "s.yaml", "--trials", "1", "-o", f"{OUTPUT}/x"),
    (*QUICK_FIT, "-o", f"{OUTPUT}/x"),
    ("unfreeze-search", "m.keras", "--data", "good.npz", "--epochs", "1", "-o", f"{OUTPUT}/x"),
    ("report", "run", "-o", f"{OUTPUT}/x.html"),
    ("benchmark", "m.tflite", "--runs", "5", "-o", f"{OUTPUT}/x.json"),
    ("benchmark", "m.tflite", "--runs", "5", "--history", f"{OUTPUT}/x.sqlite"),
    ("benchmark", "m.tflite", "--runs", "5", "--against", "bench.json"),
    ("verify", "m.keras", "m.tflite"),
    ("inspect", "m.keras"),
    ("devices", "add", "pi", "local"),
)


@st.composite
def permission_cases(draw: st.DrawFn) -> Case:
    """An ordinary user, files that aren't theirs to read, folders not theirs to write."""
    modes = {OUTPUT: draw(st.sampled_from([0o000, 0o555, 0o755, 0o700]))}
    if draw(st.booleans()):
        mode = draw(st.sampled_from([0o000, 0o444, 0o555, 0o311]))
        modes[draw(st.sampled_from([*_READ, "../tmp", "../home"]))] = mode
    files = {f"{OUTPUT}/keep": b"", "devices.yaml": b"other: local\n"}
    return Case("permissions", draw(st.sampled_from(WRITERS)), files, {}, ("devices",), modes)


# What looks at the clock, and works.
TIMED = (
    ("compress", "r.yaml", "-o", OUTPUT),
    ("benchmark", "m.tflite", "--runs", "20", "-o", f"{OUTPUT}.json"),
    ("benchmark", "m.tflite", "--runs", "5", "--history", f"{OUTPUT}.sqlite"),
    ("finetune", "m.keras", "--data", "good.npz", "--epochs", "3", *_KERAS),
    ("export", "m.keras", "--format", "tflite", *_FOLDER),
    ("search", "s.yaml", "--trials", "1", *_FOLDER),
)


@st.composite
def clock_cases(draw: st.DrawFn) -> Case:
    """A clock that is set back, or far ahead, while a command works."""
    jump = draw(st.sampled_from([-1, -3600, -(10**9), 10**9]))
    return Case("clock", draw(st.sampled_from(TIMED)), {}, {"clock_s": jump})
