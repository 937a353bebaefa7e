"""What an operator is told beside its tensors, by name."""

from __future__ import annotations

from edgepress.deploy.exporters.c_standalone.network import Step
from edgepress.deploy.exporters.exporter import Unsupported

_FUSED = ("NONE", "RELU", "RELU_N1_TO_1", "RELU6")


def activation_of(step: Step) -> str:
    """The activation that an operator ends with.

    Raises:
        Unsupported: Its limits aren't known.
    """
    code = step.options.fusedActivationFunction
    if code >= len(_FUSED):
        raise Unsupported(f"c-standalone has no {step.kind} with such an activation")
    return _FUSED[code]


def padding_of(step: Step) -> str:
    """How the edges are treated, "SAME" or "VALID"."""
    return "VALID" if step.options.padding else "SAME"
