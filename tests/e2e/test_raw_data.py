"""Jobs from raw files to an int8 file, whose metric a bare LiteRT loop over the files finds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from keras import layers
from PIL import Image
from scipy.io import wavfile

from edgepress import compress, deploy
from edgepress.compress import DataSpec

pytestmark = pytest.mark.slow
SPLITS = ("train", "val", "test")


def exported(model: keras.Model, spec: DataSpec, out: Path, **training: Any) -> Any:
    """The int8 file of a model that was trained on the data."""
    tuned = compress.finetune(
        model, spec, **{"epochs": 12, "lr": 0.02, "batch_size": 16} | training
    )
    result = deploy.export(tuned.model, out, ["tflite"], ["int8"], data=spec)
    assert len(result.artifacts) == 1, (result.skipped, result.failed)
    return result.artifacts[0]


def answers(path: Path, samples: Any) -> Any:
    """What the file gives for each sample, by LiteRT alone."""
    runner = Interpreter(str(path))
    given, found = runner.get_input_details()[0], runner.get_output_details()[0]
    runner.resize_tensor_input(given["index"], [1, *samples.shape[1:]])
    runner.allocate_tensors()
    rows = []
    for sample in samples:
        runner.set_tensor(given["index"], sample[None].astype(given["dtype"]))
        runner.invoke()
        rows.append(runner.get_tensor(found["index"])[0].copy())
    return np.stack(rows)


def convolutional(shape: tuple[int, ...], classes: int) -> keras.Model:
    keras.utils.set_random_seed(0)
    x = inputs = keras.Input(shape)
    x = layers.Conv2D(8, 3, strides=2, activation="relu")(x)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(classes, activation="softmax")(x))


def test_class_folders_whose_order_a_file_names(tmp_path: Path) -> None:
    random, colours = np.random.default_rng(0), {"red": 0, "green": 1, "blue": 2}
    order = ["red", "green", "blue"]  # not that of the alphabet
    (root := tmp_path / "photos").mkdir()
    (root / "classes.txt").write_text("\n".join(order))
    for split in SPLITS:
        for name, channel in colours.items():
            (folder := root / split / name).mkdir(parents=True)
            for number in range(16):
                pixels = random.integers(0, 120, (20, 24, 3), dtype=np.uint8)
                pixels[..., channel] += random.integers(30, 130, dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{number}.png")
    spec = DataSpec(spec=root, scale="1/255")
    artifact = exported(convolutional((20, 24, 3), 3), spec, tmp_path / "out", epochs=20)
    files = sorted((root / "test").rglob("*.png"))
    samples = np.stack([np.asarray(Image.open(f), np.float32) / 255 for f in files])
    truth = np.array([order.index(f.parent.name) for f in files])
    accuracy = float((answers(artifact.path, samples).argmax(1) == truth).mean())
    assert artifact.verified.value == pytest.approx(accuracy, abs=1e-9)
    assert accuracy > 0.8


def test_masks_of_0_and_255(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for split in SPLITS:
        for side in ("inputs", "targets"):
            (tmp_path / "m" / split / side).mkdir(parents=True)
        for number in range(16):
            mask = np.zeros((16, 16), np.uint8)
            top, left = random.integers(0, 8, 2)
            mask[top : top + 8, left : left + 8] = 255
            noisy = np.clip(mask * 0.5 + random.normal(60, 20, mask.shape), 0, 255)
            Image.fromarray(noisy.astype(np.uint8)).save(
                tmp_path / "m" / split / "inputs" / f"{number}.png"
            )
            Image.fromarray(mask).save(tmp_path / "m" / split / "targets" / f"{number}.png")
    keras.utils.set_random_seed(0)
    x = inputs = keras.Input((16, 16, 1))
    x = layers.Conv2D(8, 3, padding="same", activation="relu")(x)
    model = keras.Model(inputs, layers.Conv2D(1, 1, activation="sigmoid")(x))
    spec = DataSpec(spec=tmp_path / "m", scale="1/255", metric="iou")
    artifact = exported(model, spec, tmp_path / "out")
    files = sorted((tmp_path / "m" / "test" / "inputs").glob("*.png"))
    samples = np.stack([np.asarray(Image.open(f), np.float32)[..., None] / 255 for f in files])
    truth = np.stack([np.asarray(Image.open(f.parents[1] / "targets" / f.name)) for f in files])
    found, wanted = answers(artifact.path, samples)[..., 0] > 0.5, truth > 127
    iou = (found & wanted).sum() / (found | wanted).sum()
    assert artifact.verified.value == pytest.approx(float(iou), abs=1e-9)
    assert iou > 0.8


def test_folders_of_sounds(tmp_path: Path) -> None:
    random, rate, names = np.random.default_rng(0), 8000, ("high", "low", "noise")
    for split in SPLITS:
        for name in names:
            (folder := tmp_path / "s" / split / name).mkdir(parents=True)
            for number in range(16):
                sound = 0.1 * random.normal(size=4000)
                hertz = {"high": 1500, "low": 400}.get(name)
                if hertz:
                    turns = 2 * np.pi * hertz * random.uniform(0.9, 1.1) * np.arange(4000) / rate
                    sound = sound + 0.4 * np.sin(turns)
                stored = (np.clip(sound, -1, 1) * 32767).astype(np.int16)
                wavfile.write(folder / f"{number}.wav", rate, stored)
    spec = DataSpec(spec=tmp_path / "s", features="log-mel", bands=20, mean=1.5, std=0.75)
    keras.utils.set_random_seed(0)
    x = inputs = keras.Input((48, 20))
    x = layers.Conv1D(8, 5, strides=2, activation="relu")(x)
    x = layers.GlobalAveragePooling1D()(x)
    model = keras.Model(inputs, layers.Dense(3, activation="softmax")(x))
    artifact = exported(model, spec, tmp_path / "out", epochs=20)
    assert (tmp_path / "out" / "features.json").is_file()
    files = sorted((tmp_path / "s" / "test").rglob("*.wav"))
    sounds = np.stack([wavfile.read(f)[1] / np.float32(32768) for f in files])[:, :3960]
    spectra = tf.abs(tf.signal.stft(sounds.astype(np.float32), 200, 80, 256))
    mel = tf.signal.linear_to_mel_weight_matrix(20, 129, rate, 20.0, 4000.0)
    samples = (tf.math.log(spectra @ mel + 1e-6).numpy() - 1.5) / 0.75
    truth = np.array([names.index(f.parent.name) for f in files])
    accuracy = float((answers(artifact.path, samples).argmax(1) == truth).mean())
    assert artifact.verified.value == pytest.approx(accuracy, abs=1 / len(files) + 1e-9)
    assert accuracy > 0.9


def test_windows_by_subject(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    frames = []
    for subject in range(10):
        for activity, speed in (("walk", 0.6), ("sit", 0.0)):
            steps = np.arange(240)
            x = np.sin(speed * steps + random.uniform(0, 6)) + 0.3 * random.normal(size=240)
            y = random.normal(size=240)
            frames.append(pd.DataFrame({"x": x, "y": y, "subject": subject, "what": activity}))
    path = tmp_path / "motion.csv"
    table = pd.concat(frames, ignore_index=True)
    table.to_csv(path, index=False)
    keras.utils.set_random_seed(0)
    a = inputs = keras.Input((40, 2))
    a = layers.Conv1D(8, 5, activation="relu")(a)
    a = layers.GlobalMaxPooling1D()(a)
    model = keras.Model(inputs, layers.Dense(2, activation="softmax")(a))
    spec = DataSpec(spec=path, target="what", window=40, step=20, group_by="subject")
    artifact = exported(model, spec, tmp_path / "out")
    held_out = compress.open_data(spec, model).val
    assert held_out is not None
    subjects = sorted(set(held_out.source.groups.tolist()))  # type: ignore[attr-defined]
    samples, truth = [], []
    for subject in subjects:
        part = table[table["subject"] == int(subject)].reset_index(drop=True)
        for start in range(0, len(part) - 39, 20):
            rows = part.iloc[start : start + 40]
            samples.append(rows[["x", "y"]].to_numpy(np.float32))
            truth.append(int((rows["what"] == "walk").mean() > 0.5))
    accuracy = float((answers(artifact.path, np.stack(samples)).argmax(1) == truth).mean())
    assert artifact.verified.value == pytest.approx(accuracy, abs=1e-9)
    assert accuracy > 0.9


def test_labels_of_which_a_sample_has_several(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    parts = {}
    for split in SPLITS:
        labels = (random.random((90, 3)) < 0.3).astype(np.int64)
        noise = random.normal(0, 0.4, (90, 6))
        parts[f"x_{split}"] = (labels @ np.eye(3, 6) + noise).astype(np.float32)
        parts[f"y_{split}"] = labels
    path = tmp_path / "labels.npz"
    np.savez(path, **parts)
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6,))
    hidden = layers.Dense(16, activation="relu")(inputs)
    model = keras.Model(inputs, layers.Dense(3, activation="sigmoid")(hidden))
    artifact = exported(model, DataSpec(spec=path, metric="f1"), tmp_path / "out")
    found = answers(artifact.path, parts["x_test"]) > 0.5
    wanted = parts["y_test"] == 1
    hits = (found & wanted).sum(0)
    f1 = float(np.mean(2 * hits / (found.sum(0) + wanted.sum(0))))
    assert artifact.verified.value == pytest.approx(f1, abs=1e-9)
    assert f1 > 0.7
