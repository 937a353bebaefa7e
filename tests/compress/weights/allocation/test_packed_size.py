import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgepress.compress import prune
from edgepress.compress.errors import InputError
from edgepress.compress.kernel.progress import Silent
from edgepress.compress.pruning import prune_as
from edgepress.compress.specs.recipe import PruneSpec
from edgepress.compress.weights.allocation.packed_size import prune_to_size
from edgepress.compress.weights.masks.prunable import find_kernels

layers = keras.layers


def network():
    keras.utils.set_random_seed(2)
    return keras.Sequential(
        [
            keras.Input((6, 6, 4), name="image"),
            layers.Conv2D(16, 3, name="conv"),
            layers.Flatten(),
            layers.Dense(8, name="head"),
        ]
    )


class Pretended:
    """Packs a file of fixed length and the entropy of its kernels; counts what it weighed."""

    def __init__(self, drift: float = 1.0) -> None:
        self.weighed = 0
        self.drift = drift

    def packed_size(self, model, packing):
        self.weighed += 1
        bits = 0.0
        for kernel in find_kernels(model, depthwise=True)[0]:
            _, counts = np.unique(kernel.value(), return_counts=True)
            share = counts / kernel.size
            bits += kernel.size * -(share * np.log2(share)).sum() + 32 * (counts == 1).sum()
        trained = self.drift if getattr(model, "trained", False) else 1.0
        return trained * (500 + bits / 8) * (1.02 if packing == "zstd" else 1)


@settings(max_examples=10, deadline=None)
@given(
    st.sampled_from(["weights", "blocks", "nm", "kernels", "clusters"]),
    st.floats(0.3, 0.95),
    st.sampled_from(["gzip", "zstd"]),
)
def test_the_mildest_setting_within_the_target_is_found(structure, share, packing):
    model, tools = network(), Pretended()
    spec = PruneSpec(structure=structure, target_size=share, packing=packing)
    result = prune_as(spec, model, instruments=tools)
    full, size = (tools.packed_size(m, packing) for m in (model, result.model))
    assert size <= share * full
    (account,) = result.measured
    assert (account.before, account.after, account.limit) == (full, size, share * full)
    assert account.unit == f"{packing} bytes"
    if structure in ("weights", "blocks"):
        assert size >= 0.97 * share * full
    # Every second look halves what is left of at most 999 settings; five weigh the ends.
    assert tools.weighed <= 5 + 2 * 10


def test_a_size_that_training_changed_is_pruned_for_again(monkeypatch):
    from edgepress.compress.weights import pruning

    plain = pruning._prune

    def trained(*args):
        result = plain(*args)
        result.model.trained = True
        return result

    monkeypatch.setattr(pruning, "_prune", trained)
    tools = Pretended(drift=1.05)
    spec = PruneSpec(structure="weights", target_size=0.5)
    result = prune_as(spec, network(), instruments=tools)
    (account,) = result.measured
    assert 0.94 * account.limit <= account.after <= account.limit
    assert account.predicted == pytest.approx(account.after / 1.05)

    class Stubborn(Pretended):
        def packed_size(self, model, packing):
            size = super().packed_size(model, packing)
            return 1.01 * account.limit if getattr(model, "trained", False) else size

    with pytest.raises(InputError, match="after 4 prunings the file still had"):
        prune_as(spec, network(), instruments=Stubborn())


def test_a_target_below_reach_says_how_low_it_goes():
    spec = PruneSpec(structure="weights", target_size=300, protect=["head"])
    said = r"300 gzip bytes can't be reached: the lowest is ([\d,]+), with sparsity 0.999"
    with pytest.raises(InputError, match=said) as caught:
        prune_as(spec, network(), instruments=Pretended())
    lowest = int(caught.value.message.split("lowest is ")[1].split(", with")[0].replace(",", ""))
    spec = PruneSpec(structure="weights", target_size=lowest + 1, protect=["head"])
    result = prune_as(spec, network(), instruments=Pretended())
    assert result.measured[0].after <= lowest + 1
    np.testing.assert_array_equal(
        result.model.get_layer("head").kernel.numpy(), network().get_layer("head").kernel.numpy()
    )


def test_the_harshest_setting_is_tried_where_no_margin_for_training_is_left():
    target = PruneSpec(structure="weights", target_size=0.5, recover_epochs=1)
    harshest = prune(network(), structure="weights", sparsity=0.999).model
    limit = Pretended().packed_size(harshest, "gzip") + 1

    def without_training(spec, number):
        return prune_as(spec.model_copy(update={"recover_epochs": 0}), network())

    spec = target.model_copy(update={"target_size": limit})
    result = prune_to_size(network(), spec, without_training, Pretended(), 0, Silent())
    assert result.measured[0].after <= limit


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target_size": 10**7}, "asks for no pruning"),
        ({"structure": "nm", "target_size": 0.5, "pattern": "2:4"}, "finds pattern"),
        ({"structure": "clusters", "target_size": 0.5, "clusters": 4}, "finds clusters"),
        ({"sparsity": 0.5, "packing": "zstd"}, "packing is for target_size"),
        ({"target_size": 0.5, "sparsity": 0.5}, "give exactly one of"),
    ],
)
def test_what_cannot_be_is_refused(options, message):
    with pytest.raises((InputError, ValueError), match=message):
        prune_as(PruneSpec(**options), network(), instruments=Pretended())


def test_a_size_needs_files():
    with pytest.raises(InputError, match="target_size is measured on files"):
        prune(network(), target_size=0.5)
