"""The rate that `lr-find` suggests beside fixed rates of 1e-1 to 1e-5, in the same epochs.

Usage: python benchmarks/studies/training/learning_rates.py resnet8.h5 cifar10.npz [--epochs N]

On a shifted task (all layers unfrozen), with SGD and with Adam. Prints the lowest validation loss
and the test accuracy of each rate.
"""

from __future__ import annotations

from edgepress import compress
from edgepress.benchmarks.studies.training.shifted_task import parser, shifted, with_new_head
from edgepress.compress.data import open_data
from edgepress.compress.errors import InputError

RATES = ("auto", 1e-1, 1e-2, 1e-3, 1e-4, 1e-5)


def main() -> None:
    given = parser().parse_args()
    model = with_new_head(compress.load(given.model))
    for seed in range(given.seeds):
        data = open_data(shifted(given.data, given.samples, seed), model, seed)
        for optimizer in ("sgd", "adam"):
            for rate in RATES:
                try:
                    history = compress.finetune(
                        model, data, optimizer=optimizer, lr=rate, epochs=given.epochs, seed=seed
                    ).history
                except InputError as error:
                    print(f"seed {seed} {optimizer:5} {rate:>8} diverged: {error}")
                    continue
                print(
                    f"seed {seed} {optimizer:5} {rate!s:>8} (= {history.lr:.2e})"
                    f"  validation loss {min(history.epochs['val_loss']):.4f}"
                    f"  test accuracy {history.after:.4f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
