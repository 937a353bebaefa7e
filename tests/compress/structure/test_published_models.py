"""Models out of files prune through the public face, or what holds them is named."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from old_files import NETWORKS
from pruned_twins import masked, outputs_of, relative_gap
from real_files import also_real

from edgepress.compress.errors import InputError
from edgepress.compress.models import load
from edgepress.compress.pruning import prune
from edgepress.compress.specs.recipe import PruneSpec
from edgepress.compress.structure.budgets.measured_targets import Budget
from edgepress.compress.structure.planning.plan import choose
from edgepress.compress.structure.tracing.groups import find_channels

FOLDERS = ("models/keras3_ok", "models/tf_keras_only", "models/loads_in_neither", "models/legacy")
OTHERS = (
    "mlperf_tiny/ad/ad01.h5",
    "mlperf_tiny/ic/resnet8.h5",
    "mlperf_tiny/kws/kws_keras3.keras",
    "mlperf_tiny/kws/kws_savedmodel",
    "mlperf_tiny/vww/vww_96.h5",
    "mlperf_tiny/vww/vww_96_keras3.keras",
    "models/savedmodel/basic_pitch_nmp",
)
# For the run that everybody makes: each reason to refuse, each way to load, most kinds of layer.
CHOSEN = (
    "models/keras3_ok/cnn_channels_first.hdf5",
    "models/keras3_ok/se_conv1d.h5",
    "models/keras3_ok/sleep_bigru_wrn.keras",
    "models/legacy/tfkeras__cnn2d_59.h5",
    "models/legacy/tfkeras__misc_1.h5",
    "models/legacy/tfkeras__rnn_177.h5",
    "models/legacy/weights__keras-attention.h5",
    "models/loads_in_neither/cyclegan_unet_source.h5",
    "models/savedmodel/basic_pitch_nmp",
    "mlperf_tiny/ic/resnet8.h5",
)
TARGETS: tuple[dict[str, float], ...] = ({"target_macs": 0.5}, {"sparsity": 0.5})


def _drawn(model: keras.Model) -> Any:
    """Random inputs; whole numbers where they are looked up in a table."""
    random = np.random.default_rng(0)
    looked_up = {
        id(tensor)
        for layer in model.layers
        if isinstance(layer, keras.layers.Embedding)
        for node in layer._inbound_nodes
        for tensor in node.input_tensors
    }
    made = []
    for tensor in model.inputs:
        shape = tuple(n or (2 if axis == 0 else 32) for axis, n in enumerate(tensor.shape))
        whole = "int" in tensor.dtype or id(tensor) in looked_up
        value = random.integers(0, 2, shape) if whole else random.normal(size=shape)
        made.append(value.astype(tensor.dtype))
    return made if len(made) > 1 else made[0]


def _check_refusal(message: str) -> None:
    assert "can't be reached" in message or "no channels that can be removed" in message
    assert re.search(r"'\w+' (is|ends|puts)|no layers that make channels", message)


def _check(path: Path, target: dict[str, float]) -> None:
    model = load(path)
    try:
        result = prune(model, structure="channels", **target)
    except InputError as error:
        _check_refusal(str(error))
        return
    spec = PruneSpec(structure="channels", criterion="l1", **target)
    channels = find_channels(model)
    alive = choose(channels, spec, None, Budget(channels), 0)
    inputs = _drawn(model)
    found = outputs_of(result.model, inputs)
    assert [t.shape for t in result.model.outputs] == [t.shape for t in model.outputs]
    # A few of the files give tensors without elements; those have only a shape to compare.
    if all(x.size for x in found):
        assert relative_gap(outputs_of(masked(channels, alive), inputs), found) < 1e-4
    assert result.after.params < result.before.params
    if "target_macs" in target:
        assert result.after.macs <= 0.5 * result.before.macs


@pytest.mark.parametrize("name", [*NETWORKS, *also_real(*CHOSEN)])
def test_a_model_of_an_old_file_prunes_or_says_what_holds_it(
    name: str, old_file: Callable[[str], Path]
) -> None:
    _check(old_file(name), TARGETS[0])


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS, ids=["macs", "share"])
def test_every_published_model_prunes_or_says_what_holds_it(
    target: dict[str, float], shared_data: Path
) -> None:
    files = [f for folder in FOLDERS for f in sorted((shared_data / folder).iterdir())]
    files = [f for f in files if f.suffix in (".h5", ".hdf5", ".keras")]
    refused = []
    for path in [*files, *(shared_data / other for other in OTHERS)]:
        try:
            load(path)
        except InputError:
            refused.append(path.name)
            continue
        _check(path, target)
    assert refused == ["python_lambda.h5", "weights_only.h5"]
