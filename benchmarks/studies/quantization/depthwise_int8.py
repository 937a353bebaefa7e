"""Depthwise networks in int8: after training, with ranges and channels corrected, trained for int8.

    python benchmarks/studies/quantization/depthwise_int8.py SHARED_DATA [--rows TEXT]
        [--only vww|kws]

SHARED_DATA holds `mlperf_tiny` and `cifar10`. Two networks of MLPerf Tiny: visual wake words, a
MobileNetV1 of width 0.25, for whose 96x96 photographs enlarged CIFAR-10 images stand in (what
counts is how often int8 decides as the float network does, on 1,000 images that nothing else sees);
and keyword spotting, a DS-CNN, scored on every second of its 1,000 samples while the others
calibrate and train. Each row is one int8 TFLite file; --rows makes those only whose names hold
TEXT.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edgepress import compress, deploy
from edgepress.benchmarks.studies.quantization.mlperf_tiny_int8 import enlarged, images, predicted
from edgepress.deploy.quantize.bias_correction import bias_corrected
from edgepress.deploy.quantize.equalization import RULES, equalized

if TYPE_CHECKING:
    import keras

Array = NDArray[Any]
CALIBRATION = 512


def exported(model: keras.Model, data: Any, **options: Any) -> tuple[Array | None, list[str]]:
    """What one int8 file gives for the test images, and the notes of its export."""
    with tempfile.TemporaryDirectory() as folder:
        result = deploy.export(
            model, Path(folder) / "out", ["tflite"], ["int8"], data,
            calibration_samples=CALIBRATION, **options,
        )  # fmt: skip
        if not result.artifacts:
            print("  withheld:", result.failed[0].reason if result.failed else result.skipped)
            return None, []
        return predicted(Path(result[0].path), data["test"][0]), list(result.notes)


def ways(model: keras.Model, data: Any, epochs: int) -> dict[str, Callable[[], Array | None]]:
    """Every way to int8 by its name; each gives what its file says of the test samples."""
    off = {"equalize": False, "bias_correction": False}
    samples = [data["train"][0][:CALIBRATION]]

    def plain(changed: Any, method: str = "min-max") -> Array | None:
        return exported(changed, data, calibration_method=method, **off)[0]

    def even(rule: str) -> Array | None:
        return plain(equalized(model, samples, rule))

    def chosen() -> Array | None:
        every = {"calibration_method": "auto", "equalize": True, "bias_correction": True}
        outputs, notes = exported(model, data, **every)
        print("\n".join(f"    {note}" for note in notes))
        return outputs

    found: dict[str, Callable[[], Array | None]] = {}
    for method in ("min-max", "percentile", "mse", "entropy"):
        found[f"ranges by {method}"] = partial(plain, model, method)
    for rule in RULES:
        found[f"equalised by {rule}"] = partial(even, rule)
    found["biases corrected"] = lambda: plain(bias_corrected(model, samples))
    found["equalised by ranges, biases corrected"] = lambda: plain(
        bias_corrected(equalized(model, samples, "ranges"), samples)
    )
    found["each kept where it helps (auto)"] = chosen
    trained = partial(exported, model, data, qat_epochs=epochs)
    found[f"trained for int8, {epochs} epochs"] = lambda: trained()[0]
    return found


def compared(
    name: str, model: keras.Model, data: Any, epochs: int, labels: Array | None, rows: str
) -> None:
    """Print one network's rows: its score, and how far it is from the float network."""
    want = np.asarray(model.predict(data["test"][0], batch_size=100, verbose=0))
    truth = want.argmax(-1) if labels is None else labels

    def score(outputs: Array) -> float:
        return float(np.mean(outputs.argmax(-1) == truth))

    print(f"{name}\n  {'float':40} {score(want):.4f}", flush=True)
    for way, make in ways(model, data, epochs).items():
        got = make() if rows in way else None
        if got is not None:
            same = float(np.mean(got.argmax(-1) == want.argmax(-1)))
            noise = float(np.sqrt(np.mean(np.square(got - want))) / np.std(want))
            print(f"  {way:40} {score(got):.4f}  same {same:.4f}  noise {noise:.4f}", flush=True)


def photographs(folder: Path, model: keras.Model) -> dict[str, Any]:
    """Enlarged images, with the float network's decisions as labels."""
    parts = [enlarged(images(folder, part)[0][:1000]) / 255 for part in ("train_0", "test")]
    labels = [np.asarray(model.predict(part, verbose=0)).argmax(-1) for part in parts]
    train, test = zip(parts, labels, strict=True)
    return {"train": train, "val": train, "test": test}


def words(folder: Path) -> dict[str, Any]:
    """Keywords: every second one calibrates and trains, the others are scored."""
    with np.load(folder / "mlperf_tiny/kws/kws01_samples.npz") as file:
        x = (file["x"].astype(np.float32) - file["zero_point"]) * file["scale"]
        y = file["y"].astype(np.int64)
    train, test = ((x[i::2], y[i::2]) for i in (0, 1))
    return {"train": train, "val": train, "test": test}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--rows", default="", help="only the rows whose names hold this")
    parser.add_argument("--only", choices=("vww", "kws"))
    options = parser.parse_args()
    tiny = options.data / "mlperf_tiny"
    if options.only != "kws":
        model = compress.load(tiny / "vww/vww_96_keras3.keras")
        data = photographs(options.data, model)
        compared("visual wake words, decisions as the float network's on 1,000 images", model, data,
                 1, None, options.rows)  # fmt: skip
    if options.only != "vww":
        model = compress.load(tiny / "kws/kws_keras3.keras")
        data = words(options.data)
        compared("keyword spotting, accuracy of 500", model, data, 3, data["test"][1], options.rows)


if __name__ == "__main__":
    main()
