"""Optimizers by name, each made from a training's spec."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from edgepress.compress.kernel.registry import Table
from edgepress.compress.specs.recipe import TrainSpec

if TYPE_CHECKING:
    import keras

# Of an optimizer whose rate is not known yet; the training sets it before the first step.
_UNTIL_SET = 1e-3


class OptimizerFactory(Protocol):
    """Makes a Keras optimizer."""

    def __call__(self, spec: TrainSpec) -> keras.Optimizer:
        """A new `keras.optimizers.Optimizer`.

        Args:
            spec: Its `lr`, `momentum`, `weight_decay`, `clipnorm`, `clipvalue` and `accumulate`
                are used where the optimizer has them.
        """


def _shared(spec: TrainSpec) -> dict[str, Any]:
    """Arguments that every optimizer takes."""
    return {
        "learning_rate": spec.lr or _UNTIL_SET,
        "weight_decay": spec.weight_decay or None,
        "global_clipnorm": spec.clipnorm,
        "clipvalue": spec.clipvalue,
        "gradient_accumulation_steps": spec.accumulate if spec.accumulate > 1 else None,
    }


def sgd(spec: TrainSpec) -> keras.Optimizer:
    """Stochastic gradient descent with heavy-ball momentum.

    Source: Polyak, "Some methods of speeding up the convergence of iteration methods" (1964).
    """
    import keras

    return keras.optimizers.SGD(momentum=spec.momentum, **_shared(spec))


def nesterov(spec: TrainSpec) -> keras.Optimizer:
    """Stochastic gradient descent with Nesterov's momentum.

    Source: Sutskever et al., "On the importance of initialization and momentum" (ICML 2013).
    """
    import keras

    return keras.optimizers.SGD(momentum=spec.momentum, nesterov=True, **_shared(spec))


def adam(spec: TrainSpec) -> keras.Optimizer:
    """Adaptive moment estimation.

    Source: Kingma and Ba, "Adam: a method for stochastic optimization" (ICLR 2015).
    """
    import keras

    return keras.optimizers.Adam(**_shared(spec))


def adamw(spec: TrainSpec) -> keras.Optimizer:
    """Adam with decoupled weight decay; 0.004, Keras's default, where the spec gives none.

    Source: Loshchilov and Hutter, "Decoupled weight decay regularization" (ICLR 2019).
    """
    import keras

    arguments = _shared(spec) | {"weight_decay": spec.weight_decay or 0.004}
    return keras.optimizers.AdamW(**arguments)


def nadam(spec: TrainSpec) -> keras.Optimizer:
    """Adam with Nesterov's momentum.

    Source: Dozat, "Incorporating Nesterov momentum into Adam" (ICLR workshop 2016).
    """
    import keras

    return keras.optimizers.Nadam(**_shared(spec))


def rmsprop(spec: TrainSpec) -> keras.Optimizer:
    """Gradients divided by a running average of their size, with momentum.

    Source: Tieleman and Hinton, lecture 6.5 of "Neural networks for machine learning" (2012).
    """
    import keras

    return keras.optimizers.RMSprop(momentum=spec.momentum, **_shared(spec))


def adagrad(spec: TrainSpec) -> keras.Optimizer:
    """Rates that fall for each weight with the squares of its past gradients.

    Source: Duchi, Hazan and Singer, "Adaptive subgradient methods" (JMLR 2011).
    """
    import keras

    return keras.optimizers.Adagrad(**_shared(spec))


def lion(spec: TrainSpec) -> keras.Optimizer:
    """The sign of an interpolated momentum; takes rates about ten times below Adam's.

    Source: Chen et al., "Symbolic discovery of optimization algorithms" (NeurIPS 2023).
    """
    import keras

    return keras.optimizers.Lion(**_shared(spec))


OPTIMIZERS: Table[OptimizerFactory] = Table(
    "optimizer",
    {
        "sgd": sgd,
        "nesterov": nesterov,
        "adam": adam,
        "adamw": adamw,
        "nadam": nadam,
        "rmsprop": rmsprop,
        "adagrad": adagrad,
        "lion": lion,
    },
    "edgepress.optimizers",
)
