"""An epoch of class folders, beside the same `tf.data` pipeline written by hand, interleaved.

    python benchmarks/studies/loading/against_tf_data.py [--kind images|sounds] [--files N]
        [--rounds N]

Makes PNG images of 32 x 32 pixels, or WAV files of a second at 16 kHz of which log-mel features are
computed, and reads them in both ways in turns, shuffled, in batches of 64. The pipelines by hand
decode with TensorFlow's own operations. Prints the medians of clock and processor seconds of an
epoch and the ratio of each pair, and how far the first batches are apart.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

BATCH, SIDE, RATE, BANDS = 64, 32, 16_000, 40


def make_images(folder: Path, count: int) -> None:
    """PNG files of noise in ten class folders."""
    from PIL import Image

    random = np.random.default_rng(0)
    for number in range(count):
        (place := folder / str(number % 10)).mkdir(parents=True, exist_ok=True)
        pixels = random.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(place / f"{number}.png")


def make_sounds(folder: Path, count: int) -> None:
    """WAV files of noise in ten class folders."""
    from scipy.io import wavfile

    random = np.random.default_rng(0)
    for number in range(count):
        (place := folder / str(number % 10)).mkdir(parents=True, exist_ok=True)
        wavfile.write(place / f"{number}.wav", RATE, random.integers(-9999, 9999, RATE, np.int16))


def image_of(path: Any) -> Any:
    """An image by hand."""
    import tensorflow as tf

    return tf.io.decode_png(tf.io.read_file(path), channels=3)


def scaled(images: Any) -> Any:
    """A batch of images by hand."""
    import tensorflow as tf

    return tf.cast(images, tf.float32) / 255


def sound_of(path: Any) -> Any:
    """A sound by hand."""
    import tensorflow as tf

    return tf.audio.decode_wav(tf.io.read_file(path), 1, RATE)[0][:, 0]


def log_mel(sounds: Any) -> Any:
    """Features of a batch of sounds by hand."""
    import tensorflow as tf

    spectra = tf.abs(tf.signal.stft(sounds, 400, 160, 512))
    mel = tf.signal.linear_to_mel_weight_matrix(BANDS, 257, RATE, 20.0, RATE / 2)
    return tf.math.log(tf.tensordot(spectra, mel, 1) + 1e-6)[..., None]


def by_hand(split: Any, one: Callable[[Any], Any], batch: Callable[[Any], Any]) -> Any:
    """The pipeline that one would write for the files of a split."""
    import tensorflow as tf

    order = split.order(0, 0)
    paths = tf.constant([os.fspath(split.source.paths[i]) for i in order])
    labels = tf.constant(np.asarray(split.source.targets)[order])
    files = tf.data.Dataset.from_tensor_slices((paths, labels))
    samples = files.map(lambda path, label: (one(path), label), num_parallel_calls=2)
    batches = samples.batch(BATCH)
    return batches.map(lambda x, y: (batch(x), y), num_parallel_calls=2).prefetch(4)


def timed(make: Callable[[], Any]) -> tuple[float, float]:
    """Clock and processor seconds of a pass, from making the pipeline to its last batch."""
    clock, processor = time.perf_counter(), time.process_time()
    for _ in make():
        pass
    return time.perf_counter() - clock, time.process_time() - processor


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kind", choices=["images", "sounds"], default="images")
    parser.add_argument("--files", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=9)
    given = parser.parse_args()
    import keras

    from edgepress.compress.data import open_data
    from edgepress.compress.specs.recipe import DataSpec

    sounds = given.kind == "sounds"
    shape = (98, BANDS, 1) if sounds else (SIDE, SIDE, 3)
    model = keras.Sequential(
        [keras.Input(shape), keras.layers.Flatten(), keras.layers.Dense(10, activation="softmax")]
    )
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (make_sounds if sounds else make_images)(root, given.files)
        options: dict[str, Any] = (
            {"features": "log-mel", "clip_seconds": 1.0} if sounds else {"scale": "1/255"}
        )
        split = open_data(DataSpec(spec=root, **options), model).training_split
        one, batch = (sound_of, log_mel) if sounds else (image_of, scaled)
        ways = {
            "edgepress": lambda: split.epoch(BATCH, 0, 0, augment=False),
            "by hand": lambda: by_hand(split, one, batch),
        }
        first = [next(iter(make()))[0].numpy() for make in ways.values()]
        print(f"first batches differ by at most {np.abs(first[0] - first[1]).max():.2g}")
        seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
        for turn in range(given.rounds):
            for name in sorted(ways, reverse=bool(turn % 2)):
                seconds[name].append(timed(ways[name]))
    for place, what in enumerate(("clock", "processor")):
        medians = {n: statistics.median(t[place] for t in found) for n, found in seconds.items()}
        ratios = [a[place] / b[place] for a, b in zip(*seconds.values(), strict=True)]
        listed = ", ".join(f"{name} {median:.3f} s" for name, median in medians.items())
        print(f"{what}: {listed}; ratio {statistics.median(ratios):.3f} (median of pairs)")
    print(f"{split.size} {given.kind}, {platform.processor() or platform.machine()},"
          f" {os.cpu_count()} cores, TensorFlow {version('tensorflow')}")  # fmt: skip


if __name__ == "__main__":
    main()
