"""Folders of sounds: decoding, features, and what is refused."""

from __future__ import annotations

import struct
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import wavfile

from edgepress.compress import DataSpec
from edgepress.compress.data import Dataset, open_data
from edgepress.compress.data.preparation.sound import SoundFeatures, features_of
from edgepress.compress.data.readers.sound.decoding import decoded
from edgepress.compress.errors import InputError
from edgepress.compress.models.guarding.limits import VARIABLE
from edgepress.compress.specs.recipe import SoundSpec

RATE = 8000


def tone(hertz: float = 440, seconds: float = 0.5, rate: int = RATE) -> Any:
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate)


def write(path: Path, values: Any, rate: int = RATE, kind: Any = np.int16) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    scale = {np.int16: 32767, np.int32: 2**31 - 1}.get(kind)
    stored = (
        (values * 127 + 128).round().astype(kind)
        if kind is np.uint8
        else (values * scale).round().astype(kind)
        if scale
        else values.astype(kind)
    )
    wavfile.write(path, rate, stored)
    return path


def write_24_bits(path: Path, values: Any, rate: int = RATE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = (values * (2**23 - 1)).round().astype("<i4")
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 3, rate, len(values), "NONE", ""))
        file.writeframes(whole.view(np.uint8).reshape(-1, 4)[:, :3].tobytes())
    return path


def folder(root: Path, count: int = 4, **changes: Any) -> Path:
    for name, hertz in (("high", 1500), ("low", 300)):
        for number in range(count):
            write(root / name / f"{number}.wav", tone(hertz + 10 * number, **changes))
    return root


def model(*shape: int | None, classes: int = 2) -> keras.Model:
    inputs = keras.Input(shape)
    x = keras.layers.GlobalAveragePooling1D()(keras.layers.Reshape((-1, 1))(inputs))
    return keras.Model(inputs, keras.layers.Dense(classes, activation="softmax")(x))


@pytest.mark.parametrize("kind", [np.int16, np.int32, np.uint8, np.float32, np.float64, "24"])
def test_every_width_of_samples_means_the_same(tmp_path: Path, kind: Any) -> None:
    values = tone()
    path = tmp_path / "a.wav"
    write_24_bits(path, values) if kind == "24" else write(path, values, kind=kind)
    sound = decoded(str(path))
    assert sound.sample_rate == RATE
    assert sound.values.dtype == np.float32
    step = 1 / 120 if kind is np.uint8 else 1e-4
    np.testing.assert_allclose(sound.values[:, 0], values, atol=step)


@settings(max_examples=25, deadline=None)
@given(
    kind=st.sampled_from(["mel", "log-mel", "mfcc", "spectrogram"]),
    rate=st.sampled_from([8000, 16000, 44100]),
    frame_ms=st.floats(5, 40),
    hop_ms=st.floats(2, 40),
    bands=st.integers(13, 60),
    coefficients=st.integers(1, 13),
    power=st.booleans(),
    seed=st.integers(0, 99),
)
def test_features_are_those_of_tensorflow(
    kind: Any, rate: int, frame_ms: float, hop_ms: float, bands: int, coefficients: int,
    power: bool, seed: int,
) -> None:  # fmt: skip
    spec = SoundSpec(
        features=kind, frame_ms=frame_ms, hop_ms=hop_ms, bands=bands, coefficients=coefficients,
        spectrum="power" if power else "magnitude",
    )  # fmt: skip
    features = features_of(spec, rate)
    assert features is not None
    sounds = np.random.default_rng(seed).uniform(-1, 1, (2, rate // 4)).astype(np.float32)
    spectra = tf.abs(
        tf.signal.stft(
            sounds, round(rate * frame_ms / 1000), round(rate * hop_ms / 1000),
            pad_end=False,
        )
    )  # fmt: skip
    expected = spectra**2 if power else spectra
    if kind != "spectrogram":
        mel = tf.signal.linear_to_mel_weight_matrix(bands, spectra.shape[-1], rate, 20.0, rate / 2)
        expected = expected @ mel
    if kind in ("log-mel", "mfcc"):
        expected = tf.math.log(expected + 1e-6)
    if kind == "mfcc":
        expected = tf.signal.mfccs_from_log_mel_spectrograms(expected)[..., :coefficients]
    np.testing.assert_allclose(features(sounds), expected, rtol=1e-4, atol=1e-4)
    assert features(sounds).shape[1:] == (features.frames(rate // 4), features.width)


def test_a_folder_gives_the_features_of_its_files(tmp_path: Path) -> None:
    root = folder(tmp_path / "sounds")
    spec = DataSpec(spec=root, features="log-mel", bands=20)
    data = open_data(spec, model(48, 20, 1))
    assert data.class_names == ("high", "low")
    inputs, targets = next(data.training_split.in_order(99).as_numpy_iterator())
    path = data.training_split.source.paths[0]  # type: ignore[attr-defined]
    features = features_of(spec, RATE)
    assert isinstance(features, SoundFeatures)
    values = decoded(path).values[:, 0][None, : features.samples(48)]
    np.testing.assert_allclose(inputs[0, ..., 0], features(values)[0], atol=1e-5)
    assert targets[0] == (Path(path).parent.name == "low")


def test_channels_rates_and_lengths_become_one_and_are_told(tmp_path: Path) -> None:
    root = folder(tmp_path / "sounds")
    both = np.stack([tone(), np.zeros_like(tone())], 1)
    write(root / "low" / "stereo.wav", both)
    write(root / "low" / "fast.wav", tone(rate=16_000), rate=16_000)
    write(root / "low" / "short.wav", tone(seconds=0.001))
    spec = DataSpec(spec=root, sample_rate=RATE, clip_seconds=0.4)
    data = open_data(spec, model(3200, 1))
    told = " ".join(data.warnings)
    for what in ("1 of 11 sounds, such as", "fast.wav', are resampled to 8000 Hz", "their mean is",
                 "padded with silence to 0.4 s", "cut to their first 0.4 s"):  # fmt: skip
        assert what in told
    by_name = {}
    for split in (data.train, data.val):
        assert split is not None
        rows = np.concatenate([x for x, _ in split.in_order(4).as_numpy_iterator()])
        by_name |= {Path(p).name: row for p, row in zip(split.source.paths, rows, strict=True)}  # type: ignore[attr-defined]
    np.testing.assert_allclose(by_name["stereo.wav"][:, 0], tone()[:3200] / 2, atol=1e-4)
    np.testing.assert_allclose(by_name["fast.wav"][50:-50, 0], tone()[50:3150], atol=1e-2)
    assert not by_name["short.wav"][8:].any()


@pytest.mark.parametrize("ending", ["flac", "mp3", "ogg"])
def test_other_formats_are_read_by_soundfile(tmp_path: Path, ending: str) -> None:
    soundfile = pytest.importorskip("soundfile")
    path = tmp_path / f"a.{ending}"
    soundfile.write(path, tone(seconds=1), RATE)
    sound = decoded(str(path))
    assert sound.sample_rate == RATE
    kept = sound.values[:RATE, 0]
    assert np.abs(np.fft.rfft(kept)).argmax() == pytest.approx(440, abs=2)


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("empty.wav", b"", "empty.wav"),
        ("text.wav", b"no sound at all", "text.wav"),
        ("cut.wav", "cut", "cut off"),
        ("none.wav", "none", "no samples"),
        ("nan.wav", "nan", "NaN"),
    ],
)
def test_files_that_are_no_sound_are_named(
    tmp_path: Path, name: str, content: Any, told: str
) -> None:
    root = folder(tmp_path / "sounds")
    path = root / "low" / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content == "nan":
        write(path, np.full(100, np.nan), kind=np.float32)
    else:
        write(path, tone() if content == "cut" else np.zeros(0))
        if content == "cut":
            path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(InputError, match=told) as caught:
        open_data(root, model(3200, 1))
    assert name in str(caught.value)


@pytest.mark.parametrize(
    ("shape", "options", "told"),
    [
        ((48, 20, 1), {}, "--features"),
        ((48, 20, 1), {"features": "log-mel"}, "40 log-mel bands"),
        ((47, 20), {"features": "log-mel", "bands": 20, "clip_seconds": 0.5}, "48 frames"),
        ((20, 48), {"features": "log-mel", "bands": 20}, "bands stand before frames"),
        ((48, 20), {"features": "log-mel", "bands": 20, "fmax": 5000}, "half the sample rate"),
        ((48, 20), {"features": "log-mel", "bands": 20, "fmin": 4000}, "isn't below"),
        ((48, 20), {"features": "log-mel", "fft_length": 128}, "shorter than a frame"),
        ((48, 20), {"features": "mfcc", "bands": 10, "coefficients": 20}, "more than the 10"),
        ((None, 20), {"features": "log-mel", "bands": 20}, "--clip-seconds"),
        ((3200,), {"window": 5}, "--window has no effect"),
        ((3200,), {"bands": 20}, "--bands has no effect without --features"),
        (
            (48, 129),
            {"features": "spectrogram", "log_offset": 0.1},
            "--log-offset has no effect with --features spectrogram",
        ),
    ],
)
def test_what_does_not_fit_the_model_is_refused(
    tmp_path: Path, shape: Any, options: dict[str, Any], told: str
) -> None:
    root = folder(tmp_path / "sounds")
    with pytest.raises(InputError, match=told):
        open_data(DataSpec(spec=root, **options), model(*shape))


def test_rates_that_differ_need_a_word(tmp_path: Path) -> None:
    root = folder(tmp_path / "sounds")
    write(root / "low" / "fast.wav", tone(rate=16_000), rate=16_000)
    with pytest.raises(InputError, match=r"8000 Hz and .* 16000 Hz; .*--sample-rate"):
        open_data(root, model(3200))


def test_options_of_sounds_are_refused_elsewhere() -> None:
    arrays = {"x": np.zeros((20, 48, 20), np.float32), "y": np.arange(20) % 2}
    with pytest.raises(InputError, match="--features has no effect"):
        open_data(DataSpec(spec=arrays, features="mfcc"), model(48, 20))


def test_spec_augment_masks_stretches_the_same_way_for_the_same_seed(tmp_path: Path) -> None:
    root = folder(tmp_path / "sounds")
    spec = DataSpec(spec=root, features="log-mel", bands=20, augment=("spec-augment:0.2",))
    split = open_data(spec, model(48, 20, 1)).training_split

    def epoch(number: int, augment: bool = True) -> Any:
        return next(split.epoch(99, 1, number, augment).as_numpy_iterator())[0]

    plain, once = epoch(3, augment=False), epoch(3)
    np.testing.assert_array_equal(once, epoch(3))
    assert not np.array_equal(once, epoch(4))
    changed = (plain != once)[..., 0]
    means = plain.mean((1, 2, 3), keepdims=True)
    np.testing.assert_allclose(once[changed], np.broadcast_to(means, plain.shape)[changed], 1e-5)
    # What changes are whole frames or whole bands, at most two stretches of a fifth of each.
    rows, columns = changed.all(2), changed.all(1)
    np.testing.assert_array_equal(changed, rows[:, :, None] | columns[:, None, :])
    assert rows.sum(1).max() <= 2 * 9
    assert columns.sum(1).max() <= 2 * 4
    assert changed.any()


def test_silence_that_is_packed_to_nothing_is_held_against_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    soundfile = pytest.importorskip("soundfile")
    monkeypatch.setenv(VARIABLE, "0.02")
    path = tmp_path / "a.flac"
    soundfile.write(path, np.zeros(4_000_000, np.int16), RATE, format="FLAC")
    assert path.stat().st_size < 100_000
    with pytest.raises(InputError, match=r"declares contents of 32\.0 MB"):
        decoded(str(path))


def _changed(content: bytes, place: int, form: str, value: int) -> bytes:
    size = struct.calcsize(form)
    return content[:place] + struct.pack(form, value) + content[place + size :]


# Heads that decoders read differently: the same samples, said or laid out otherwise.
LAYOUTS: dict[str, Callable[[bytes], bytes]] = {
    "bytes a second": lambda wav: _changed(wav, 28, "<I", 7),
    "bytes a sample": lambda wav: _changed(wav, 32, "<H", 4),
    "a part of odd length": lambda wav: (
        wav[:36] + b"LIST" + struct.pack("<I", 3) + b"abc\0" + wav[36:]
    ),
    "a part of even length": lambda wav: (
        wav[:36] + b"LIST" + struct.pack("<I", 2) + b"ab" + wav[36:]
    ),
    "a longer format": lambda wav: _changed(wav[:36], 16, "<I", 18) + b"\0\0" + wav[36:],
    "something behind": lambda wav: wav + b"more",
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_head_that_decoders_read_differently_changes_nothing(tmp_path: Path, layout: str) -> None:
    network = model(RATE // 2)
    root = folder(tmp_path / "d")
    plain = _all_of(open_data(root, network))
    path = root / "high" / "0.wav"
    path.write_bytes(LAYOUTS[layout](path.read_bytes()))
    np.testing.assert_allclose(_all_of(open_data(root, network)), plain, atol=1e-4)


def test_a_head_without_parts_is_said_to_be_damaged(tmp_path: Path) -> None:
    root = folder(tmp_path / "d")
    path = root / "high" / "0.wav"
    path.write_bytes(_changed(path.read_bytes(), 4, "<I", 0))
    with pytest.raises(InputError, match=r"0\.wav' is not a readable sound: its head is damaged"):
        open_data(root, model(RATE // 2))


def _all_of(data: Dataset) -> Any:
    splits = (data.training_split, data.report_split)
    rows = np.concatenate([x for s in splits for x, _ in s.in_order(4).as_numpy_iterator()])
    return rows[np.lexsort(rows.T[:50])]
