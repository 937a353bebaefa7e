"""Jobs from raw files to an int8 file, whose metric a bare LiteRT loop over the files finds."""

from __future__ import annotations

import json
import subprocess
import sys
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


def edgepress(folder: Path, words: str) -> tuple[int, str]:
    """Exit code of a command that is called in a folder, and what it says."""
    done = subprocess.run(
        [sys.executable, "-m", "edgepress", *words.split()],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout or done.stderr


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


def test_masks_whose_edges_have_no_class(tmp_path: Path) -> None:
    random, void = np.random.default_rng(0), 255
    for split in SPLITS:
        for side in ("inputs", "targets"):
            (tmp_path / "m" / split / side).mkdir(parents=True)
        for number in range(16):
            mask = np.zeros((16, 16), np.uint8)
            kind, top, left = 1 + number % 2, *random.integers(0, 7, 2)
            mask[top : top + 9, left : left + 9] = void
            mask[top + 1 : top + 8, left + 1 : left + 8] = kind
            shown = np.where(mask == void, random.integers(0, 3, mask.shape), mask)
            noisy = np.clip(shown * 80 + random.normal(40, 12, mask.shape), 0, 255)
            name = f"{number}.png"
            Image.fromarray(noisy.astype(np.uint8)).save(tmp_path / "m" / split / "inputs" / name)
            stored = Image.fromarray(mask, "P")
            stored.putpalette([0, 0, 0, 200, 0, 0, 0, 200, 0] + [0] * 756 + [224, 224, 192])
            stored.save(tmp_path / "m" / split / "targets" / name)
    keras.utils.set_random_seed(0)
    x = inputs = keras.Input((16, 16, 1))
    x = layers.Conv2D(8, 3, padding="same", activation="relu")(x)
    model = keras.Model(inputs, layers.Conv2D(3, 1, activation="softmax")(x))
    spec = DataSpec(spec=tmp_path / "m", scale="1/255", metric="mean_iou", ignore_label=void)
    artifact = exported(model, spec, tmp_path / "out", epochs=40, batch_size=2)
    files = sorted((tmp_path / "m" / "test" / "inputs").glob("*.png"))
    samples = np.stack([np.asarray(Image.open(f), np.float32)[..., None] / 255 for f in files])
    truth = np.stack([np.asarray(Image.open(f.parents[1] / "targets" / f.name)) for f in files])
    found, kept = answers(artifact.path, samples).argmax(-1), truth != void
    overlaps = [
        ((found == k) & (truth == k) & kept).sum() / (((found == k) | (truth == k)) & kept).sum()
        for k in range(3)
    ]
    assert artifact.verified.value == pytest.approx(float(np.mean(overlaps)), abs=1e-9)
    assert np.mean(overlaps) > 0.8


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


def test_labels_with_weights_by_the_command_line(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    parts = {}
    for split in SPLITS:
        labels = (random.random((300, 3)) < (0.4, 0.15, 0.05)).astype(np.int64)
        noise = random.normal(0, 0.4, (300, 6))
        parts[f"x_{split}"] = (labels @ np.eye(3, 6) + noise).astype(np.float32)
        parts[f"y_{split}"] = labels
    np.savez(tmp_path / "labels.npz", **parts)
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6,))
    hidden = layers.Dense(16, activation="relu")(inputs)
    compress.save(
        keras.Model(inputs, layers.Dense(3, activation="sigmoid")(hidden)), tmp_path / "m.keras"
    )
    training = "--epochs 12 --lr 0.02 --batch-size 16 --metric recall --data labels.npz"
    found = {}
    for name in ("none", "balanced", "wrong"):
        weights = {"wrong": "1,2"}.get(name, name)
        code, said = edgepress(
            tmp_path, f"finetune m.keras {training} -o {name}.keras --positive-weights {weights}"
        )
        if name == "wrong":
            assert code == 2
            assert "2 numbers, the model 3 labels" in said
            continue
        assert code == 0, said
        words = f"export {name}.keras -o {name} --data labels.npz --metric recall"
        code, said = edgepress(tmp_path, f"{words} --format tflite --quantize int8 --json")
        assert code == 0, said
        [artifact] = json.loads(said)["artifacts"]
        chosen = answers(tmp_path / artifact["path"], parts["x_test"]) > 0.5
        wanted = parts["y_test"] == 1
        found[name] = float(np.mean((chosen & wanted).sum(0) / wanted.sum(0)))
        assert artifact["verified"]["value"] == pytest.approx(found[name], abs=1e-9)
    assert found["balanced"] > max(found["none"] + 0.05, 0.8)
