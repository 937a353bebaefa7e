"""`unfreeze-search` beside four fixed strategies on a shifted task, judged on test data.

Usage: python benchmarks/studies/training/unfreezing.py resnet8.h5 cifar10.npz [--samples N]
    [--epochs N]

The strategies train for the epochs of one step of the search, and again for as many as all of its
steps took together. Prints validation and test accuracy of each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgepress import compress
from edgepress.benchmarks.studies.training.shifted_task import parser, shifted, with_new_head
from edgepress.compress.data import evaluate, open_data
from edgepress.compress.training import unfreeze_search

if TYPE_CHECKING:
    import keras

STRATEGIES = {"top": "top:1", "middle": "middle", "bottom": "bottom:3", "all": "all"}


def strategy(
    model: keras.Model, data: Any, name: str, epochs: int, seed: int, **options: Any
) -> str:
    """A line of the table: a fixed part of the network beside the head, trained at once."""
    result = compress.finetune(
        model, data, unfreeze=[STRATEGIES[name], "new_head"], epochs=epochs, seed=seed, **options
    )
    value = evaluate(result.model, data.val, data.task)
    return f"{name:22} {epochs:6} {value:10.4f} {result.history.after:8.4f}"


def main() -> None:
    arguments = parser()
    arguments.add_argument("--lr", default="1e-3")
    given = arguments.parse_args()
    model = with_new_head(compress.load(given.model))
    options = {"lr": given.lr, "schedule": "cosine"}
    for seed in range(given.seeds):
        data = open_data(shifted(given.data, given.samples, seed), model, seed)
        print(f"seed {seed}: {'trained':14} {'epochs':>6} {'validation':>10} {'test':>8}")
        found = unfreeze_search(model, data, epochs=given.epochs, seed=seed, **options)
        for step in found.steps:
            print(f"  step {step.name:16} {given.epochs:5} {step.value:10.4f}")
        total = given.epochs * len(found.steps)
        name = f"search: {found.best.name}"
        print(f"{name:22} {total:6} {found.best.value:10.4f} {found.after:8.4f}")
        for name in STRATEGIES:
            print(strategy(model, data, name, given.epochs, seed, **options), flush=True)
            print(strategy(model, data, name, total, seed, **options), flush=True)


if __name__ == "__main__":
    main()
