"""Generators of models: files and artifacts that were changed, and small random networks."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

from fuzz_bytes import DEEP, edited, json_bytes, mutated
from fuzz_case import OUTPUT, Case
from hypothesis import strategies as st


def _rezipped(content: bytes, name: str, new: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(out, "w") as made:
        for member in old.namelist():
            made.writestr(member, new if member == name else old.read(member))
    return out.getvalue()


@st.composite
def model_cases(draw: st.DrawFn, base: Path) -> Case:
    """Model files and artifacts with changed bytes or edited configurations."""
    name = draw(
        st.sampled_from(["m.keras", "g.keras", "m.h5", "m.tflite", "m.tflite", "m.onnx", "m.onnx"])
    )
    content = (base / name).read_bytes()
    member = draw(st.sampled_from(["config.json", "config.json", "metadata.json", ""]))
    if name.endswith(".keras") and member:
        old = zipfile.ZipFile(io.BytesIO(content)).read(member)
        new = json_bytes(draw(edited(json.loads(old))))
        content = _rezipped(content, member, draw(st.one_of(st.just(new), mutated(old), DEEP)))
    else:
        content = draw(mutated(content))
    file = draw(st.sampled_from(["bad", "bad", "b\udcff", "é"])) + Path(name).suffix
    words: list[tuple[str, ...]] = [("inspect", file), ("inspect", file, "--json")]
    if name.endswith((".keras", ".h5")):
        words += [
            ("doctor", file),
            ("verify", file, "m.tflite"),
            ("inspect", file),
            (
                "prune",
                file,
                "-o",
                f"{OUTPUT}.keras",
                "--structure",
                "channels",
                "--target-macs",
                "0.5",
            ),
            ("strip", file, "-o", f"{OUTPUT}.keras"),
        ]
    else:
        words += [("verify", "m.keras", file), ("benchmark", file, "--runs", "5")]
    return Case("models", draw(st.sampled_from(words)), {file: content})


_LAYERS = (
    "L.Dense({n}, activation='{a}')",
    "L.Dropout(0.{n})",
    "L.BatchNormalization()",
    "L.Activation('{a}')",
    "L.Reshape((2, -1))",
    "L.Flatten()",
    "L.LayerNormalization()",
    "L.Conv1D({n}, 1)",
    "L.LSTM({n})",
    "L.GRU({n}, return_sequences=True)",
    "L.Rescaling({n})",
    "L.Conv2D({n}, 3, padding='same')",
    "L.GlobalAveragePooling2D()",
    "L.DepthwiseConv2D(3)",
    "L.MaxPooling2D({n})",
    "L.Softmax()",
    "L.Embedding({n}, 4)",
    "L.UnitNormalization()",
    "L.RepeatVector({n})",
    "L.Lambda(lambda x: x)",
    "L.GaussianNoise(0.{n})",
    "L.PReLU()",
    "L.Conv2DTranspose({n}, 2)",
    "L.ZeroPadding2D()",
)


@st.composite
def network_cases(draw: st.DrawFn) -> Case:
    """Small random networks, made by a function; some can't be built at all."""
    shape = draw(
        st.sampled_from(["(4,)", "(8, 8, 1)", "(6, 4)", "(None, 4)", "()", "(None, None, 3)"])
    )
    layers = [
        draw(st.sampled_from(_LAYERS)).format(
            n=draw(st.sampled_from([1, 2, 3, 7])),
            a=draw(st.sampled_from(["relu", "softmax", "gelu"])),
        )
        for _ in range(draw(st.integers(0, 5)))
    ]
    text = (
        "import keras\nL = keras.layers\ndef f():\n"
        f"    return keras.Sequential([keras.Input({shape}), {', '.join(layers)}])\n"
    )
    words = draw(
        st.sampled_from(
            [
                ("inspect", "net.py:f"),
                ("doctor", "net.py:f"),
                ("inspect", "net.py:f", "--json"),
                ("strip", "net.py:f", "-o", f"{OUTPUT}.keras"),
                ("prune", "net.py:f", "-o", f"{OUTPUT}.keras", "--sparsity", "0.5"),
                (
                    "prune",
                    "net.py:f",
                    "-o",
                    f"{OUTPUT}.keras",
                    "--structure",
                    "channels",
                    "--target-macs",
                    "0.6",
                ),
                ("export", "net.py:f", "-o", OUTPUT, "--format", "tflite"),
            ]
        )
    )
    return Case("networks", words, {"net.py": text.encode()})
