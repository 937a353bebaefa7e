"""How much of everything a run does."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Plan:
    """What is compared, and on how much.

    Attributes:
        networks: In `networks.NETWORKS`.
        shares: Of the MACs that stay.
        epochs: Of distillation after the cut.
        seeds: Of samples, order and augmentation.
        images: Training images.
        sparsities: Shares of zeros.
        judged: Test images that measure a cut network.
        files: Test images that measure a file in its runtime.
        rounds: Interleaved rounds of latency.
    """

    networks: tuple[str, ...]
    shares: tuple[float, ...]
    epochs: tuple[int, ...]
    seeds: tuple[int, ...]
    images: int
    sparsities: tuple[float, ...]
    judged: int = 10_000
    files: int = 10_000
    rounds: int = 200

    @property
    def limits(self) -> dict[str, int]:
        """How many images the jobs get."""
        return {"images": self.images, "judged": self.judged}


QUICK = Plan(
    ("resnet8",), (0.5,), (0, 3), (0,), 8_000, (0.75,), judged=10_000, files=2_000, rounds=50
)
WHOLE = Plan(
    ("resnet8", "mobilenet", "resnet20"),
    (0.65, 0.5, 0.35),
    (0, 10, 40),
    (0, 1, 2),
    16_000,
    (0.5, 0.75, 0.9),
)
