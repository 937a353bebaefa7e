"""The four MLPerf Tiny networks in int8: against their float source and the published int8 file.

    python benchmarks/studies/quantization/mlperf_tiny_int8.py SHARED_DATA

SHARED_DATA holds `mlperf_tiny` and `cifar10`. Ranges come from data that isn't evaluated, except
for keyword spotting and the anomaly detector, of which only the evaluation samples are to be had:
there every second sample calibrates the ranges. There are no images for visual wake words: the
agreement of its decisions on resized photographs is printed.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgepress import compress, deploy
from edgepress.benchmarks.runtimes.runtime import Runtime

if TYPE_CHECKING:
    import keras

Array = NDArray[Any]
METHODS = ("percentile", "min-max", "auto")


def images(folder: Path, part: str) -> tuple[Array, Array]:
    """CIFAR-10 as stored: differences along rows and columns."""
    with np.load(folder / "cifar10" / f"{part}.npz") as file:
        pixels = file["d"].cumsum(1, dtype=np.uint8).cumsum(2, dtype=np.uint8)
        return pixels.astype(np.float32), file["y"].astype(np.int64)


def spectra(folder: Path) -> Array:
    """Windows of five frames of the one recording."""
    recording = folder / "mlperf_tiny/ad/normal_id_01_00000000_hist_librosa.bin"
    frames = np.fromfile(recording, np.float32).reshape(200, 128)
    return np.stack([frames[i : i + 5].reshape(-1) for i in range(196)])


def predicted(path: Path, x: Array) -> Array:
    """Outputs of a file, in real numbers."""
    with Runtime(path) as runtime:
        inputs, _ = runtime.tensors()
        return next(iter(runtime.predict({inputs[0].name: x}).values()))


def exported(model: keras.Model, calibration: Array, out: Path, method: str) -> Path:
    """The int8 file that `export` makes."""
    outputs = np.asarray(model.predict(calibration, verbose=0))
    data = {"train": (calibration, outputs), "val": (calibration, outputs)}
    files = deploy.export(
        model, out, ["tflite"], ["int8"], data, calibration_samples=len(calibration),
        calibration_method=method,
    )  # fmt: skip
    return Path(files[0].path)


def compared(
    name: str,
    model: keras.Model,
    published: Path,
    x: Array,
    calibration: Array,
    score: Callable[..., Any],
) -> None:
    """Print one network's figures."""
    with tempfile.TemporaryDirectory() as folder:
        ours = {m: exported(model, calibration, Path(folder) / m, m) for m in METHODS}
        values = {
            "float": score(np.asarray(model.predict(x, verbose=0))),
            **{f"int8 {method}": score(predicted(path, x)) for method, path in ours.items()},
            "published": score(predicted(published, x)),
        }
    print(f"{name:28} " + "  ".join(f"{k} {v:.4f}" for k, v in values.items()), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path)
    folder = parser.parse_args().data
    tiny = folder / "mlperf_tiny"

    x, y = images(folder, "test")
    calibration = images(folder, "train_0")[0][:1000]
    compared("ic, accuracy of 10,000", compress.load(tiny / "ic/resnet8.h5"),
             tiny / "ic/resnet8_int8.tflite", x, calibration,
             lambda out: float(np.mean(out.argmax(-1) == y)))  # fmt: skip

    with np.load(folder / "cifar10/test.npz") as file:
        chosen = file["ic01_index"]
    compared("ic, accuracy of ic01's 200", compress.load(tiny / "ic/resnet8.h5"),
             tiny / "ic/resnet8_int8.tflite", x[chosen], calibration,
             lambda out: float(np.mean(out.argmax(-1) == y[chosen])))  # fmt: skip

    with np.load(tiny / "kws/kws01_samples.npz") as file:
        words = (file["x"].astype(np.float32) - file["zero_point"]) * file["scale"]
        labels = file["y"]
    compared("kws, accuracy of 1,000", compress.load(tiny / "kws/kws_keras3.keras"),
             tiny / "kws/kws_int8.tflite", words, words[::2],
             lambda out: float(np.mean(out.argmax(-1) == labels)))  # fmt: skip

    windows = spectra(folder)
    compared("ad, mean squared error", compress.load(tiny / "ad/ad01.h5"),
             tiny / "ad/ad01_int8.tflite", windows, windows[::2],
             lambda out: float(np.mean(np.square(out - windows))))  # fmt: skip

    person = compress.load(tiny / "vww/vww_96_keras3.keras")
    photographs = enlarged(x[:500]) / 255
    decisions = np.asarray(person.predict(photographs, verbose=0)).argmax(-1)
    compared("vww, same decisions of 500", person, tiny / "vww/vww_96_int8.tflite",
             photographs, enlarged(calibration[:300]) / 255,
             lambda out: float(np.mean(out.argmax(-1) == decisions)))  # fmt: skip


def enlarged(x: Array) -> Array:
    """Images of 32x32 as 96x96."""
    return x.repeat(3, 1).repeat(3, 2)


if __name__ == "__main__":
    main()
