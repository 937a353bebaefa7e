"""The rules of transfer learning as advice with reasons."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from edgepress.compress.data import Dataset, evaluate, open_data
from edgepress.compress.models import load
from edgepress.compress.models.untrained import has_constants, initial_weights
from edgepress.compress.training.chance import chance_of
from edgepress.compress.training.freezing.depths import blocks
from edgepress.compress.training.freezing.select import layer_refs
from edgepress.compress.training.linear_probe import Probe, probe

if TYPE_CHECKING:
    import keras

    from edgepress.compress.typing import DataLike, ModelLike

Similarity = Literal["similar", "different"]
Amount = Literal["small", "medium", "large"]
Part = Literal["top", "middle and top", "all"]

_SMALL, _LARGE = 200, 2000
_SIMILAR_GAIN, _SIMILAR_SCORE = 0.5, 0.95
# Features that close less of what random ones leave open have learned nothing.
_NO_GAIN = 0.05

# How much of the network the data can bear and the task needs.
_PARTS: dict[tuple[Amount, Similarity], Part] = {
    ("small", "similar"): "top",
    ("small", "different"): "middle and top",
    ("medium", "similar"): "middle and top",
    ("medium", "different"): "all",
    ("large", "similar"): "all",
    ("large", "different"): "all",
}


@dataclass(frozen=True)
class AdviceLine:
    """One setting, its value and why."""

    setting: str
    value: Any
    reason: str


@dataclass(frozen=True)
class Advice:
    """Where to begin a fine-tuning.

    Attributes:
        lines: Settings with their reasons.
        samples_per_class: Training samples for each class, or in all where there are no classes.
        similarity: "similar" or "different" to what the model was trained for.
        probe: What the similarity was measured by, or None where it was given.
    """

    lines: tuple[AdviceLine, ...]
    samples_per_class: float
    similarity: Similarity
    probe: Probe | None

    @property
    def recipe(self) -> dict[str, Any]:
        """The settings as options of `finetune`, or the `finetune` part of a recipe."""
        return {line.setting: line.value for line in self.lines}

    def to_json(self) -> dict[str, Any]:
        """All of it, by name."""
        return {
            "finetune": self.recipe,
            "lines": [vars(line) for line in self.lines],
            "samples_per_class": self.samples_per_class,
            "similarity": self.similarity,
            "probe": None if self.probe is None else {**vars(self.probe), "gain": self.probe.gain},
        }


def advise(
    model: ModelLike, data: DataLike | None, *, similarity: Similarity | None = None, seed: int = 0
) -> Advice:
    """Say which layers to unfreeze and which optimizer, rate and schedule to start from.

    Args:
        model: A Keras model, or what `load` takes.
        data: What `open_data` takes.
        similarity: Whether the task resembles the one the model was trained for; measured by a
            linear probe where it isn't given.
        seed: Draws the probe's samples.

    Returns:
        The advice with its reasons.

    Raises:
        InputError: The model or the data can't be used.

    Source: Yosinski et al., "How transferable are features in deep neural networks?" (NeurIPS
        2014), for what depends on amount and similarity.
    """
    original = load(model)
    dataset = open_data(data, original, seed)
    measured = None if similarity else probe(original, dataset, seed)
    if similarity is None:
        assert measured is not None
        similarity = _similarity(measured)
    per_class = _samples_per_class(dataset)
    amount: Amount = "small" if per_class < _SMALL else "large" if per_class > _LARGE else "medium"
    part = _PARTS[amount, similarity]
    fresh = "" if measured is None else _untrained(original, dataset, measured)
    if fresh:
        lines = (AdviceLine("unfreeze", ["all"], fresh), *_first_rate(), *_schedule_lines(amount))
        return Advice(lines, per_class, "different", measured)
    lines = (
        _unfreeze_line(original, part, amount, per_class, similarity, measured),
        *_rate_lines(part, amount, similarity),
        *_schedule_lines(amount),
    )
    return Advice(lines, per_class, similarity, measured)


def _untrained(model: keras.Model, dataset: Dataset, measured: Probe) -> str:
    """Why a model counts as one that was never trained; empty where it was."""
    split = dataset.val or dataset.report_split
    chance, value = chance_of(dataset.task, split), evaluate(model, split, dataset.task)
    by_chance = chance is None or chance.explains([value])
    shown = f"{dataset.task.metric} {value:.3g}"
    if chance is not None:
        constant = f", where always giving the same answer has {chance.value:.3g}"
        shown += " is chance" if by_chance else constant
    kinds = initial_weights(model)
    # Random weights may do a little better than a constant answer, by luck; features that help
    # come from a training, of biases or not.
    lucky = chance is not None and not chance.halves(value) and measured.gain < _SIMILAR_GAIN
    if kinds and (by_chance or lucky):
        what = f"every {' and '.join(kinds)} holds its initial value"
    elif chance and by_chance and not has_constants(model) and measured.gain < _NO_GAIN:
        what = "its features are worth no more than random ones"
    else:
        return ""
    return f"train everything: the model was never trained ({what}, {shown})"


def _first_rate() -> tuple[AdviceLine, ...]:
    return (
        AdviceLine("optimizer", "adam", "it makes fast progress from random weights"),
        AdviceLine(
            "lr", 1e-3, "Adam starts at 1e-3 to 1e-4; there are no trained weights to preserve"
        ),
    )


def _similarity(measured: Probe) -> Similarity:
    """Similar where the frozen features do most of what is needed."""
    enough = measured.trained >= _SIMILAR_SCORE or measured.gain >= _SIMILAR_GAIN
    return "similar" if enough else "different"


def _samples_per_class(dataset: Dataset) -> float:
    split = dataset.training_split
    labels = split.source.labels()
    if labels is None or "crossentropy" not in dataset.task.losses[0]:
        return float(split.size)
    return split.size / max(1, len(set(labels.ravel().tolist())))


def _unfreeze_line(
    model: keras.Model,
    part: Part,
    amount: Amount,
    per_class: float,
    similarity: Similarity,
    measured: Probe | None,
) -> AdviceLine:
    units = blocks(model)
    kept = {"top": units[-1:], "middle and top": units[len(units) // 2 :], "all": units}[part]
    spec = "all" if part == "all" else f"from:{kept[0][0]}"
    chosen = {path for block in kept for path in block}
    sizes = {r.path: int(r.layer.count_params()) for r in layer_refs(model) if r.weights}
    share = sum(n for p, n in sizes.items() if p in chosen) / max(1, sum(sizes.values()))
    task = f"the task is {similarity}"
    if measured is not None:
        task += (
            f" (a linear probe on the model's features scores {measured.trained:.2f}, on random"
            f" ones {measured.random:.2f})"
        )
    reason = f"{part}: {per_class:.0f} samples a class are {amount}, and {task}"
    return AdviceLine("unfreeze", [spec], f"{reason}; that is {share:.0%} of the weights")


def _rate_lines(part: Part, amount: Amount, similarity: Similarity) -> tuple[AdviceLine, ...]:
    if part == "all" and amount == "large":
        rate = 1e-2 if similarity == "different" else 1e-3
        why = "far from" if similarity == "different" else "close to"
        return (
            AdviceLine("optimizer", "sgd", "with much data its minima generalise better"),
            AdviceLine("lr", rate, f"SGD starts at 1e-2 to 1e-3; the weights lie {why} their goal"),
        )
    rate = 1e-3 if part == "top" else 3e-4 if similarity == "different" else 1e-4
    why = (
        "a new head alone can take the full learning rate"
        if part == "top"
        else "deep layers need a small learning rate"
    )
    return (
        AdviceLine("optimizer", "adam", "with little data it converges in few epochs"),
        AdviceLine("lr", rate, f"Adam starts at 1e-3 to 1e-4; {why}"),
    )


def _schedule_lines(amount: Amount) -> tuple[AdviceLine, ...]:
    if amount == "large":
        return (
            AdviceLine("schedule", "cosine", "many steps: a decay planned over all of them"),
            AdviceLine(
                "warmup",
                1.0,
                "one epoch, so that the first large steps don't destroy trained weights",
            ),
            AdviceLine("epochs", 15, "each sees many samples"),
        )
    return (
        AdviceLine("schedule", "plateau", "few steps: the rate is reduced when validation stalls"),
        AdviceLine("early_stopping", 10, "little data is soon overfitted"),
        AdviceLine("epochs", 50, "early stopping ends it"),
    )
