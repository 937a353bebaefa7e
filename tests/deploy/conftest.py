"""Data that a model itself judges."""

from __future__ import annotations

import numpy as np
import pytest

from edgepress.deploy.sources.keras_outputs import run_source
from edgepress.deploy.sources.sample_inputs import plausible_inputs


@pytest.fixture
def own_data():
    """Data for a model: random inputs, what the model itself says of them as targets."""

    def make(model, samples=240, seed=0):
        from edgepress.compress.data.tasks import output_names

        inputs = plausible_inputs(model, samples, seed)
        outputs = run_source(model, iter([inputs]))
        outputs = [np.asarray(o, np.float32) for o in outputs]
        x = inputs if len(inputs) > 1 else next(iter(inputs.values()))
        y = dict(zip(output_names(model), outputs, strict=True)) if len(outputs) > 1 else outputs[0]
        return {"train": (x, y), "val": (x, y)}

    return make
