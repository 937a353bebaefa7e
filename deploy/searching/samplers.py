"""What draws the recipes of a search."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING

from edgepress.compress.kernel.registry import Table

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

# Points that are spread out before a sampler learns from them.
_SPREAD = 8


def sampler_for(name: str, seed: int, done: int, workers: int) -> BaseSampler:
    """What draws the next point.

    The first points are a scrambled Sobol' sequence, which leaves no corner of the space out as
    random ones may; choices from a list are drawn independently there.

    Args:
        name: Of the sampler, in `SAMPLERS`.
        seed: Of the search.
        done: Trials so far.
        workers: Trials that run at once.

    Source: Sobol' (1967); Owen, "Scrambling Sobol' and Niederreiter-Xing points" (1998).
    """
    from optuna.exceptions import ExperimentalWarning
    from optuna.samplers import QMCSampler, RandomSampler

    drawn = (seed * 100_003 + done) % 2**32
    if done < _SPREAD:
        with warnings.catch_warnings():
            # Its interface may change, which the pinned range of Optuna bounds.
            warnings.simplefilter("ignore", ExperimentalWarning)
            return QMCSampler(
                scramble=True,
                seed=seed,
                independent_sampler=RandomSampler(drawn),
                warn_independent_sampling=False,
                warn_asynchronous_seeding=False,
            )
    return SAMPLERS[name](drawn, workers)


def _tpe(seed: int, workers: int) -> BaseSampler:
    """A tree-structured Parzen estimator, which for several objectives splits trials by dominance.

    Source: Bergstra et al., "Algorithms for hyper-parameter optimization" (NeurIPS 2011); Ozaki et
        al., "Multiobjective tree-structured Parzen estimator" (JAIR 2022).
    """
    from optuna.samplers import TPESampler

    return TPESampler(
        n_startup_trials=_SPREAD,
        multivariate=True,
        constant_liar=workers > 1,
        seed=seed,
    )


def _nsga2(seed: int, workers: int) -> BaseSampler:
    """Deb et al., "A fast and elitist multiobjective genetic algorithm: NSGA-II" (2002)."""
    del workers
    from optuna.samplers import NSGAIISampler

    return NSGAIISampler(population_size=2 * _SPREAD, seed=seed)


def _random(seed: int, workers: int) -> BaseSampler:
    del workers
    from optuna.samplers import RandomSampler

    return RandomSampler(seed=seed)


# A new sampler is one line: from a seed and the number of workers to Optuna's sampler.
SAMPLERS: Table[Callable[[int, int], BaseSampler]] = Table(
    "sampler",
    {"tpe": _tpe, "nsga2": _nsga2, "random": _random},
    entry_point_group="edgepress.samplers",
)
