"""Copies and near copies stay on one side of the split that is drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import layers
from PIL import Image, ImageEnhance

from edgepress.compress import DataSpec
from edgepress.compress.data import open_data
from edgepress.compress.data.readers.images.likeness import alike, of_arrays, of_files
from edgepress.compress.data.readers.series.overlaps import overlapping
from edgepress.compress.data.readers.sound.cuts import cut_pairs, marks_of
from edgepress.compress.data.readers.sound.likeness import of_waves
from edgepress.compress.data.readers.texts.likeness import alike_texts
from edgepress.compress.data.splits.setting_aside import copies_of

COUNT = 24


@pytest.fixture(scope="module")
def model() -> keras.Model:
    inputs = keras.Input((32, 32, 3))
    return keras.Model(inputs, layers.Dense(2, activation="softmax")(layers.Flatten()(inputs)))


def scene(seed: int) -> Any:
    """A picture of large and small spots, as photographs have."""
    random = np.random.default_rng(seed)
    layers_ = [random.integers(0, 255, (n, n, 3), np.uint8) for n in (4, 8, 24)]
    sized = [np.asarray(Image.fromarray(a).resize((48, 48)), np.float32) for a in layers_]
    return Image.fromarray((0.5 * sized[0] + 0.3 * sized[1] + 0.2 * sized[2]).astype(np.uint8))


def numbers(paths: Any) -> set[int]:
    return {int(Path(path).stem.partition("_")[0]) for path in paths}


def test_a_photograph_that_was_saved_again_stays_with_the_first(
    tmp_path: Path, model: keras.Model
) -> None:
    for seed in range(COUNT):
        (folder := tmp_path / "ab"[seed % 2]).mkdir(exist_ok=True)
        image = scene(seed)
        image.save(folder / f"{seed}.png")
        image.save(folder / f"{seed}_again.jpg", quality=70)
        if seed < 4:
            ImageEnhance.Brightness(image.resize((40, 40))).enhance(0.8).save(
                folder / f"{seed}_dim.png"
            )
    data = open_data(tmp_path, model)
    kept, aside = (numbers(s.source.paths) for s in (data.train, data.val))  # type: ignore
    assert not kept & aside
    assert 3 <= len(aside) <= 8
    assert f"{COUNT + 4} samples are nearly copies of others" in " ".join(data.warnings)


def test_arrays_of_pictures_are_compared_too(model: keras.Model) -> None:
    first = np.stack([np.asarray(scene(s).resize((32, 32))) for s in range(COUNT)]) / 255
    noise = np.random.default_rng(0).normal(0, 0.004, first.shape)
    x = np.concatenate([first, first + noise, first[:3]]).astype(np.float32)
    y = np.concatenate([np.arange(COUNT) % 2] * 2 + [np.arange(3) % 2])
    data = open_data((x, y), model)
    whole = of_arrays(x)
    assert whole is not None
    told = " ".join(data.warnings)
    assert f"{COUNT} samples are nearly copies" in told
    assert "3 samples are copies of others" in told
    rows = [
        np.asarray(s.source.inputs[next(iter(s.source.inputs))]) for s in (data.train, data.val)
    ]  # type: ignore
    origin = [{int(np.abs(first - row).mean((1, 2, 3)).argmin()) for row in part} for part in rows]
    assert not origin[0] & origin[1]


def test_different_pictures_are_not_alike() -> None:
    looks = np.stack(
        [np.asarray(scene(s).resize((16, 16)), np.float32).ravel() for s in range(300)]
    )
    assert not len(alike(looks))
    digits = np.zeros((400, 12, 12, 1), np.float32)  # strokes at one of few places
    for number, digit in enumerate(digits):
        digit[2:10, 3 + number % 2] = 1
    found = of_arrays(digits)
    assert found is not None
    assert not len(alike(found)), "all are alike, so it says nothing"
    assert not len(alike(np.zeros((5, 256), np.float32)))
    assert of_files(["x"] * 20_001) is None


def test_pairs_are_those_that_a_comparison_of_all_finds() -> None:
    random = np.random.default_rng(0)
    looks = random.normal(size=(200, 768)).astype(np.float32)
    near = looks[:40] * 1.3 + random.normal(0, 0.1, (40, 768)) + 2
    together = np.concatenate([looks, near]).astype(np.float32)
    whole = np.corrcoef(together) >= 0.98
    expected = {(int(a), int(b)) for a, b in zip(*np.nonzero(np.triu(whole, 1)), strict=True)}
    assert expected
    assert {tuple(sorted(pair)) for pair in alike(together).tolist()} == expected


def test_a_sound_that_was_saved_again_stays_with_the_first(tmp_path: Path) -> None:
    from scipy.io import wavfile
    from scipy.signal import resample_poly

    random, rate = np.random.default_rng(0), 8000
    for seed in range(COUNT):
        (folder := tmp_path / "ab"[seed % 2]).mkdir(exist_ok=True)
        tone = np.sin(np.arange(rate) * (0.1 + 0.02 * (seed % 2)) + random.random() * 6)
        wave = 0.2 * np.cumsum(random.normal(size=rate)) / 40 + 0.2 * tone
        again = 0.5 * wave + random.normal(size=rate) * 0.01 * wave.std()
        wavfile.write(folder / f"{seed}.wav", rate, (wave * 12_000).astype(np.int16))
        if seed % 2:
            wide = resample_poly(again, 2, 1).astype(np.float32)
            wavfile.write(folder / f"{seed}_again.wav", 2 * rate, wide)
        else:
            wavfile.write(folder / f"{seed}_again.wav", rate, (again * 12_000).astype(np.int16))
    inputs = keras.Input((rate,))
    model = keras.Model(inputs, layers.Dense(2, activation="softmax")(inputs))
    data = open_data(DataSpec(spec=tmp_path, sample_rate=rate), model)
    kept, aside = (numbers(s.source.paths) for s in (data.train, data.val))  # type: ignore
    assert not kept & aside
    assert aside
    told = " ".join(data.warnings)
    assert f"{COUNT} samples are nearly copies of others, as a sound" in told


RATE = 8000


def recording(random: np.random.Generator, seconds: float = 2.0) -> Any:
    """Noise of changing colour and loudness, as of something that happens."""
    from scipy.signal import lfilter

    parts = []
    for _ in range(round(seconds * 10)):
        noise = random.normal(size=RATE // 10)
        pole = random.uniform(0.2, 0.9)
        parts.append(lfilter([1 - pole], [1, -pole], noise) * random.uniform(0.3, 1))
    return np.concatenate(parts)


def cuts(random: np.random.Generator) -> tuple[list[Any], list[int]]:
    """A second of each of several recordings, and of every third another one that overlaps it."""
    sounds, origins = [], []
    for number in range(COUNT):
        whole = recording(random)
        sounds.append(whole[:RATE])
        origins.append(number)
        if number % 3 == 0:
            begin = int(random.integers(500, 2500))
            again = whole[begin : begin + RATE]
            sounds.append(0.6 * again + random.normal(size=RATE) * 0.02 * again.std())
            origins.append(number)
    return sounds, origins


def test_a_sound_that_was_cut_at_another_moment_stays_with_the_first(tmp_path: Path) -> None:
    from scipy.io import wavfile

    sounds, origins = cuts(np.random.default_rng(1))
    for place, (sound, origin) in enumerate(zip(sounds, origins, strict=True)):
        (folder := tmp_path / "ab"[origin % 2]).mkdir(exist_ok=True)
        wavfile.write(folder / f"{origin}_{place}.wav", RATE, (sound * 12_000).astype(np.int16))
    inputs = keras.Input((RATE,))
    model = keras.Model(inputs, layers.Dense(2, activation="softmax")(inputs))
    data = open_data(tmp_path, model)
    kept, aside = (numbers(s.source.paths) for s in (data.train, data.val))  # type: ignore
    assert not kept & aside
    assert aside
    assert f"{COUNT // 3} samples are nearly copies of others, as a sound" in " ".join(
        data.warnings
    )


@pytest.mark.parametrize("shape", [(RATE,), (RATE, 1)])
def test_sounds_in_arrays_are_compared_as_files_are(shape: tuple[int, ...]) -> None:
    random = np.random.default_rng(2)
    sounds, origins = cuts(random)
    again = [0.5 * s + random.normal(size=RATE) * 0.01 * s.std() for s in sounds[:4]]
    x = np.stack([*sounds, *again]).astype(np.float32).reshape(-1, *shape)
    origin = np.array([*origins, *origins[:4]])
    inputs = keras.Input(shape)
    flat = layers.Flatten()(inputs)
    model = keras.Model(inputs, layers.Dense(2, activation="softmax")(flat))
    data = open_data((x, origin % 2), model)
    assert f"{COUNT // 3 + 4} samples are nearly copies" in " ".join(data.warnings)
    name = model.inputs[0].name
    found = [
        {int(origin[np.abs(x - row).reshape(len(x), -1).sum(1).argmin()]) for row in part}
        for part in (s.source.inputs[name] for s in (data.train, data.val))  # type: ignore
    ]
    assert not found[0] & found[1]


def test_what_hangs_together_as_a_whole_is_said_not_to_be_divided() -> None:
    whole = recording(np.random.default_rng(3), 12)
    x = np.stack([whole[b : b + RATE] for b in range(0, 11 * RATE, RATE // 5)]).astype(np.float32)
    inputs = keras.Input((RATE,))
    model = keras.Model(inputs, layers.Dense(2, activation="softmax")(inputs))
    told = " ".join(open_data((x, np.arange(len(x)) % 2), model).warnings)
    assert "so many hang together that both splits have some" in told


@pytest.mark.parametrize("kind", ["float32", "int16"])
def test_windows_that_share_steps_stay_on_one_side(kind: str) -> None:
    random = np.random.default_rng(5)
    subjects = [(random.normal(size=(80, 3)) * 1000).astype(kind) for _ in range(12)]
    x = np.stack([s[b : b + 40] for s in subjects for b in (0, 20, 40)])
    subject = np.repeat(np.arange(12), 3)
    inputs = keras.Input((40, 3))
    model = keras.Model(inputs, layers.Dense(2, activation="softmax")(layers.Flatten()(inputs)))
    data = open_data((x, subject % 2), model)
    assert "24 samples are nearly copies of others, as a window that shares" in " ".join(
        data.warnings
    )
    name = model.inputs[0].name
    found = [
        {int(subject[(x == row).all((1, 2)).argmax()]) for row in part}
        for part in (s.source.inputs[name] for s in (data.train, data.val))  # type: ignore
    ]
    assert not found[0] & found[1]


def test_few_steps_that_are_shared_or_pauses_are_no_overlap() -> None:
    whole = np.random.default_rng(6).normal(size=(400, 2)).astype(np.float32)
    few = np.stack([whole[b : b + 40] for b in range(0, 360, 34)])
    assert len(overlapping(few)) == 0
    # All begin with the same pause, and go on each in its own way.
    few[:, :20] = 0
    assert len(overlapping(few)) == 0
    one_hot = np.eye(5, dtype=np.float32)[np.random.default_rng(7).integers(0, 5, (50, 30))]
    assert len(overlapping(one_hot)) == 0
    assert len(overlapping(np.zeros((9, 40, 1), np.float32))) == 0
    one = np.stack([whole[b : b + 40, :1] for b in range(0, 360, 20)])
    assert len(overlapping(one)) == len(one) - 1


@given(st.integers(8, 30), st.integers(1, 30), st.integers(2, 12))
def test_overlaps_are_those_that_a_comparison_of_all_finds(steps: int, by: int, count: int) -> None:
    whole = np.random.default_rng(8).normal(size=(count * by + steps, 2)).astype(np.float32)
    windows = np.stack([whole[i * by : i * by + steps] for i in range(count)])
    wanted = {
        (i, j)
        for i in range(count)
        for j in range(i + 1, count)
        if steps - (j - i) * by >= max(8, steps / 4)
    }
    assert {(int(i), int(j)) for i, j in overlapping(windows)} == wanted


def test_rows_that_are_no_sounds_are_left_alone() -> None:
    random = np.random.default_rng(4)
    assert of_waves(random.normal(size=(20, 999))) is None
    assert of_waves(random.uniform(0, 1, (20, 2000))) is None  # spectra, say
    assert of_waves(random.normal(size=(20, 500, 3))) is None


def test_tones_are_not_cut_from_one_recording() -> None:
    steps = np.arange(4000) * 0.3
    tones = [np.sin(steps + phase).astype(np.float32) for phase in np.linspace(0, 6, 20)]
    assert not len(cut_pairs([marks_of(t) for t in tones], lambda place: tones[place]))


def test_tones_of_one_pitch_are_no_copies() -> None:
    tones = np.sin(np.arange(400) * 0.3 + np.linspace(0, 6, 200)[:, None]).astype(np.float32)
    pairs = alike(tones)
    assert len(pairs)
    copies = copies_of([bytes([n]) for n in range(200)], pairs, True)
    assert copies.near == 0
    assert len(set(copies.groups.tolist())) == 200


WORDS = [f"word{n}" for n in range(400)]


def test_a_text_of_which_a_word_differs_stays_with_the_first() -> None:
    random = np.random.default_rng(0)
    texts = [" ".join(random.choice(WORDS, 20)) for _ in range(COUNT)]
    again = [t.upper().replace(" ", ", ") if n % 2 else t + " indeed" for n, t in enumerate(texts)]
    again = [t.replace(t.split()[7], "other") if n % 3 == 0 else t for n, t in enumerate(again)]
    lookup = layers.TextVectorization(output_mode="multi_hot", vocabulary=WORDS)
    inputs = keras.Input((), dtype="string")
    model = keras.Model(inputs, layers.Dense(2, activation="softmax")(lookup(inputs)))
    x = np.array([*texts, *again], object)
    data = open_data((x, np.concatenate([np.arange(COUNT) % 2] * 2)), model)
    told = " ".join(data.warnings)
    assert f"{COUNT} samples are nearly copies of others, as a text" in told
    parts = [
        {str(t, "utf-8") if isinstance(t, bytes) else t for t in s.source.inputs[inputs.name].flat}
        for s in (data.train, data.val)  # type: ignore
    ]
    places = [{n % COUNT for n, text in enumerate(x) if text in part} for part in parts]
    assert places[1]
    assert not places[0] & places[1]


def test_different_texts_are_not_alike() -> None:
    random = np.random.default_rng(1)
    texts = [" ".join(random.choice(WORDS[:40], 12)) for _ in range(300)]
    assert not len(alike_texts(texts))
    assert not len(alike_texts([f"the value of item {n} is high" for n in range(200)]))
    assert not len(alike_texts(["", "", "a"]))
    assert len(alike_texts(["a b", "A, b!", "c d"])) == 1
