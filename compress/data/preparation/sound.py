"""Features of sounds, as `tf.signal` computes them."""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgepress.compress.errors import InputError
from edgepress.compress.specs.recipe import SoundSpec

if TYPE_CHECKING:
    import tensorflow as tf

Kind = Literal["mel", "log-mel", "mfcc", "spectrogram"]


@dataclass(frozen=True)
class SoundFeatures:
    """What is computed from the samples of a sound.

    Frames are windowed by a Hann window (periodic, of an odd length symmetric, as `tf.signal` has
    it) and padded with zeros to the transform's length; no frame reaches over the sound's end.
    Bands are triangles on the mel scale of HTK.

    Attributes:
        kind: Name of the features.
        sample_rate: Samples a second.
        frame_length: Samples in a frame.
        hop_length: Samples from one frame to the next.
        fft_length: Samples that are transformed.
        bands: Bands of the mel scale.
        fmin: Lower edge of the lowest band in hertz.
        fmax: Upper edge of the highest band in hertz.
        log_offset: What is added before the logarithm.
        coefficients: Coefficients that `mfcc` keeps.
        power: Whether bands add squares of magnitudes.
    """

    kind: Kind
    sample_rate: int
    frame_length: int
    hop_length: int
    fft_length: int
    bands: int
    fmin: float
    fmax: float
    log_offset: float
    coefficients: int
    power: bool

    @property
    def width(self) -> int:
        """Values of a frame."""
        if self.kind == "spectrogram":
            return self.fft_length // 2 + 1
        return self.coefficients if self.kind == "mfcc" else self.bands

    def frames(self, samples: int) -> int:
        """Frames of a sound of so many samples."""
        return max(0, 1 + (samples - self.frame_length) // self.hop_length)

    def samples(self, frames: int) -> int:
        """The fewest samples that so many frames are of."""
        return self.frame_length + (frames - 1) * self.hop_length

    def __call__(self, sounds: tf.Tensor) -> tf.Tensor:
        """Features of sounds.

        Args:
            sounds: (batch, samples) tensor, from -1 to 1.

        Returns:
            (batch, frames, width) float32 tensor.
        """
        import tensorflow as tf

        spectra = tf.abs(
            tf.signal.stft(sounds, self.frame_length, self.hop_length, self.fft_length)
        )
        return self.of_spectra(tf.square(spectra) if self.power else spectra)

    def of_spectra(self, spectra: tf.Tensor) -> tf.Tensor:
        """Features of magnitudes or their squares.

        Args:
            spectra: (batch, frames, fft_length // 2 + 1) tensor.
        """
        import tensorflow as tf

        if self.kind == "spectrogram":
            return spectra
        mel = tf.tensordot(spectra, tf.constant(self.mel_matrix), 1)
        if self.kind == "mel":
            return mel
        logs = tf.math.log(mel + self.log_offset)
        if self.kind == "log-mel":
            return logs
        return tf.tensordot(logs, tf.constant(self.cosines), 1)

    @functools.cached_property
    def mel_matrix(self) -> NDArray[np.float32]:
        """(fft_length // 2 + 1, bands) weight of each frequency in each band."""
        import tensorflow as tf

        with tf.init_scope():
            found = tf.signal.linear_to_mel_weight_matrix(
                self.bands, self.fft_length // 2 + 1, self.sample_rate, self.fmin, self.fmax
            )
        matrix: NDArray[np.float32] = found.numpy()
        return matrix

    @functools.cached_property
    def cosines(self) -> NDArray[np.float32]:
        """(bands, coefficients) the DCT-II of HTK, which `tf.signal` has for MFCCs."""
        places = np.arange(self.bands)[:, None] + 0.5
        turns = np.arange(self.coefficients)[None] * np.pi / self.bands
        return (np.cos(places * turns) * np.sqrt(2 / self.bands)).astype(np.float32)

    def empty_bands(self) -> list[int]:
        """Bands that no frequency falls in."""
        if self.kind == "spectrogram":
            return []
        return [int(n) for n in np.flatnonzero(~self.mel_matrix.any(0))]

    def text(self) -> str:
        """The features as people read them."""
        what = {"mfcc": f"{self.coefficients} MFCCs of {self.bands} bands",
                "spectrogram": f"spectra of {self.width} frequencies"}  # fmt: skip
        said = what.get(self.kind, f"{self.bands} {self.kind} bands")
        return (
            f"{said}, frames of {self.frame_length} samples every {self.hop_length} at"
            f" {self.sample_rate} Hz"
        )

    def to_json(self) -> dict[str, Any]:
        """All that a firmware needs to compute the same."""
        return {
            **dataclasses.asdict(self),
            "window": f"0.5 - 0.5 cos(2 pi n / {self.frame_length - self.frame_length % 2})",
            "mel_scale": "HTK: 2595 log10(1 + f/700), triangles without area normalisation",
            "logarithm": "natural, of value + log_offset",
            "dct": "type II, scaled by sqrt(2/bands)",
            "input": "samples from -1 to 1",
        }


@dataclass(frozen=True)
class SoundInput:
    """From the samples of sounds to a model's input.

    Attributes:
        features: What is computed, or None for the samples themselves.
        channel: Whether an axis of length 1 is added.
        samples: Samples of each sound.
        sample_rate: Samples a second.
    """

    features: SoundFeatures | None
    channel: bool
    samples: int
    sample_rate: int

    def __call__(self, sounds: tf.Tensor) -> tf.Tensor:
        """The input of a batch of sounds, (batch, samples) float32."""
        value = sounds if self.features is None else self.features(sounds)
        return value[..., None] if self.channel else value


def features_of(spec: SoundSpec, sample_rate: int) -> SoundFeatures | None:
    """The features that a specification asks for, checked against a sample rate.

    Raises:
        InputError: Numbers contradict each other.
    """
    if spec.features is None:
        return None
    frame, hop = (round(sample_rate * ms / 1000) for ms in (spec.frame_ms, spec.hop_ms))
    if min(frame, hop) < 1:
        raise InputError(
            f"--frame-ms {spec.frame_ms:g} and --hop-ms {spec.hop_ms:g} are less than a sample at"
            f" {sample_rate} Hz",
            "give longer ones",
        )
    fft_length = spec.fft_length or 1 << (frame - 1).bit_length()
    fmax = sample_rate / 2 if spec.fmax is None else spec.fmax
    if fft_length < frame:
        raise InputError(
            f"--fft-length {fft_length} is shorter than a frame of {frame} samples"
            f" ({spec.frame_ms:g} ms at {sample_rate} Hz)",
            f"give {frame} or more, or a shorter --frame-ms",
        )
    if fmax > sample_rate / 2:
        raise InputError(
            f"--fmax {fmax:g} lies above half the sample rate of {sample_rate} Hz",
            f"give {sample_rate / 2:g} or less, or a higher --sample-rate",
        )
    if spec.fmin >= fmax:
        raise InputError(f"--fmin {spec.fmin:g} isn't below --fmax {fmax:g}")
    if spec.features == "mfcc" and spec.coefficients > spec.bands:
        raise InputError(
            f"--coefficients {spec.coefficients} are more than the {spec.bands} bands that they"
            " are of",
            "give fewer, or more --bands",
        )
    return SoundFeatures(
        spec.features, sample_rate, frame, hop, fft_length, spec.bands, spec.fmin, fmax,
        spec.log_offset, spec.coefficients, spec.spectrum == "power",
    )  # fmt: skip
