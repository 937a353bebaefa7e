"""A verdict sees values that a file lost, however small their share, and says what samples hide."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

from edgepress.compress.kernel.artifact import Agreement
from edgepress.deploy.quantize import PRECISIONS
from edgepress.deploy.verification.judging import judge
from edgepress.deploy.verification.source_outputs import SourceOutputs, gather
from edgepress.deploy.verification.verifying import compare

NOISY = [name for name, p in PRECISIONS.items() if p.bounded == "noise"]
# The bound on noise of the others sees less, or more, by itself.
STRICT = ("int8", "dynamic", "int8-weights")


def verdict(want, have, precision="int8"):
    source = SourceOutputs(None, lambda: iter([]), [np.asarray(want, "float32")])
    return judge(source, [np.asarray(have, "float32")], PRECISIONS[precision])


def scores(*, width, share=1.0):
    random = np.random.default_rng(0)
    values = width * random.random((200, 20, 3))
    return random.random((200, 20, 4)), values * (random.random(values.shape) < share)


@pytest.mark.parametrize("name", STRICT)
@pytest.mark.parametrize("width", [0.03, 0.1, 0.3])
def test_scores_that_are_one_value_beside_boxes_of_one_unit_are_lost(name, width):
    boxes, found = scores(width=width)
    want = np.concatenate([boxes, found], -1)
    flat = np.concatenate([boxes, np.full_like(found, width / 2)], -1)
    told = verdict(want, flat, name)
    assert not told.passed
    assert told.outputs[0].slices == ("channels 4-6",)
    assert "one value" in told.reason
    rounded = np.round(want * 255) / 255
    assert verdict(want, rounded, name).passed


def test_scores_of_what_is_seldom_found_are_lost_beside_boxes_in_pixels():
    boxes, found = scores(width=1.0, share=0.05)
    want = np.concatenate([640 * boxes, found], -1)
    told = verdict(want, np.concatenate([640 * boxes, 0 * found], -1))
    assert not told.passed
    assert told.outputs[0].slices == ("channels 4-6",)


@pytest.mark.parametrize("name", STRICT)
@pytest.mark.parametrize(
    ("shape", "lost", "where"),
    [
        ((100, 80, 2), np.s_[:, 7], "axis 1 place 7"),
        ((30, 16, 16, 1), np.s_[:, :, -1:], "axis 2 place 15"),
        ((30, 16, 16, 1), np.s_[:, :1], "axis 1 place 0"),
        ((300, 10), np.s_[-1], "sample 299"),
        ((300, 10), np.s_[::20], "samples "),
        ((300, 3), np.s_[::10], "samples "),
    ],
)
def test_a_place_or_a_sample_that_holds_one_value_is_lost(name, shape, lost, where):
    want = np.random.default_rng(0).normal(size=shape)
    have = want.copy()
    have[lost] = 0
    told = verdict(want, have, name)
    assert not told.passed
    assert where in told.reason


@pytest.mark.parametrize("name", NOISY)
@pytest.mark.parametrize("seed", range(5))
def test_noise_makes_nothing_equal(name, seed):
    """Of two logits a sample's may be equal by chance, and classes never taken are near 0."""
    random = np.random.default_rng(seed)
    for shape in ((2000, 2), (2000, 1), (400, 10), (50, 6, 6, 3)):
        want = random.normal(size=shape)
        step = 0.1
        assert verdict(want, np.round(want / step) * step, name).passed
    logits = random.normal(size=(500, 50)) * 4 - np.arange(50) / 3
    chances = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    assert verdict(chances, np.round(chances * 256) / 256, name).passed


@pytest.mark.parametrize("name", ["float32", "float16"])
def test_a_file_in_floats_that_gives_one_value_is_wrong_however_near_it_is(name):
    want = 1 + 0.002 * np.random.default_rng(0).normal(size=(100, 1))
    assert not verdict(want, np.ones_like(want), name).passed


@pytest.mark.parametrize("name", PRECISIONS)
@pytest.mark.parametrize("size", [1e-12, 1e-30, 1e12])
def test_outputs_of_any_unit_are_compared_in_their_own(name, size):
    want = size * np.random.default_rng(0).normal(size=(100, 4))
    assert verdict(want, want * (1 + 1e-6), name).passed
    assert not verdict(want, 0 * want, name).passed


def heavy():
    want = np.random.default_rng(0).normal(size=(200, 2))
    want[0] = 1e6
    return want


@pytest.mark.parametrize("name", PRECISIONS)
def test_one_huge_sample_hides_no_other(name):
    want = heavy()
    have = want + np.where(np.arange(200)[:, None] == 0, 0, 3.0)
    told = verdict(want, have, name)
    assert not told.passed
    assert "199 of 200 samples" in told.reason
    assert verdict(want, want * (1 + 1e-6), name).passed


def test_what_most_samples_lost_is_no_loss_where_their_targets_say_so():
    from edgepress.compress.data.output_task import OutputTask
    from edgepress.compress.data.tasks import Task

    want = heavy().astype("float32")
    truth = want + 50 * np.random.default_rng(1).normal(size=want.shape).astype("float32")
    have = want + np.where(np.arange(200)[:, None] == 0, 0, 3.0)
    task = Task((OutputTask("out", "regression", "mse", "mae", False),))
    figures = task.figures([want], truth)
    source = SourceOutputs(None, lambda: iter([]), [want], truth, task, "test", figures)
    assert judge(source, [have], PRECISIONS["int8"]).passed


@pytest.mark.parametrize(
    ("want", "have", "doubt"),
    [
        (np.ones((9, 3)), np.ones((9, 3)), "the same for all 9 samples"),
        (np.zeros((9, 1)), np.zeros((9, 1)), "the same for all 9 samples"),
        (np.eye(3)[:1], np.eye(3)[:1], "a single sample"),
        (np.eye(3)[[1] * 9] + np.arange(9)[:, None], np.eye(3)[[1] * 9] + np.arange(9)[:, None],
         "of class 1 for all 9 samples"),
        (1000 + np.arange(9.0)[:, None], np.full((9, 1), 1004.0), "the file's output"),
        (np.eye(3)[[0, 1, 2]], np.eye(3)[[0, 1, 2]], ""),
    ],
)  # fmt: skip
def test_what_samples_dont_show_is_said(want, have, doubt):
    told = verdict(want, have)
    assert told.passed
    assert doubt in "; ".join(told.doubts)
    assert bool(told.doubts) == bool(doubt)
    assert Agreement.from_json(told.to_json()) == told


class Files:
    """A file's runtime, by the model that it holds."""

    is_plain = False

    def __init__(self, model):
        self.model = model

    def predict(self, arrays):
        return {"out": self.model(next(iter(arrays.values()))).numpy()}


@pytest.mark.parametrize(("kernel", "passes"), [(1.0, True), (2.0, False)])
def test_data_without_variety_doesnt_vouch_for_a_file(kernel, passes):
    """All inputs are 0, so that no kernel matters."""
    from edgepress.compress import open_data
    from edgepress.compress.kernel.artifact import TensorSpec

    def network(value):
        start = keras.initializers.Constant(value)
        inputs = keras.Input((3,), name="in")
        return keras.Model(inputs, layers.Dense(2, kernel_initializer=start, name="out")(inputs))

    model, other = network(1.0), network(kernel)
    part = (np.zeros((20, 3), "float32"), np.zeros((20, 2), "float32"))
    gathered = gather(model, open_data({"train": part, "test": part}, model))
    specs = [TensorSpec(name, shape, "float32") for name, shape in
             (("in", (None, 3)), ("out", (None, 2)))]  # fmt: skip
    told = compare(gathered, Files(other), (specs[0],), (specs[1],), PRECISIONS["float32"])
    assert told.passed == passes
    assert ("random inputs" in told.reason) != passes
    assert told.doubts


def test_random_inputs_have_the_sizes_that_a_file_fixes():
    from edgepress.compress import open_data
    from edgepress.compress.kernel.artifact import TensorSpec

    inputs = keras.Input((None, 2), name="in")
    model = keras.Model(inputs, layers.GlobalAveragePooling1D(name="out")(inputs))
    seen = []

    class Watched(Files):
        def predict(self, arrays):
            seen.append(next(iter(arrays.values())).shape)
            return super().predict(arrays)

    part = (np.zeros((20, 5, 2), "float32"), np.zeros((20, 2), "float32"))
    gathered = gather(model, open_data({"train": part, "test": part}, model))
    given, out = (TensorSpec(*a, "float32") for a in (("in", (None, 5, 2)), ("out", (None, 2))))
    assert compare(gathered, Watched(model), (given,), (out,), PRECISIONS["float32"]).passed
    assert {shape[1:] for shape in seen} == {(5, 2)}
    assert len(seen) == 2


@pytest.mark.parametrize(
    ("own", "said"), [(np.nan, "the model's own outputs"), (1.0, "its outputs")]
)
def test_whose_outputs_are_no_numbers_is_said(own, said):
    want = np.full((9, 2), own)
    told = verdict(want, np.full((9, 2), np.nan))
    assert not told.passed
    assert told.reason.startswith(said)


@pytest.mark.parametrize("still", [0, 1, 4])
@pytest.mark.parametrize("of", [-1.0, 1.0])
def test_data_that_varies_in_parts_vouches_for_no_others(still, of):
    """A file in floats is tried on other values of what never varies, one in integers isn't."""
    from edgepress.compress import open_data
    from edgepress.compress.kernel.artifact import TensorSpec

    keras.utils.set_random_seed(0)
    inputs = keras.Input((8,), name="in")
    model = keras.Model(inputs, layers.Dense(2, name="out")(inputs))
    other = keras.models.clone_model(model)
    kernel, bias = model.get_weights()
    kernel[:still] *= of
    other.set_weights([kernel, bias])
    x = np.random.default_rng(0).normal(size=(20, 8)).astype("float32")
    x[:, :still] = 3.0
    bias -= 3.0 * (kernel - model.get_weights()[0])[:still].sum(0)
    other.set_weights([kernel, bias])
    part = (x, model(x).numpy())
    gathered = gather(model, open_data({"train": part, "test": part}, model))
    specs = [TensorSpec(name, shape, "float32") for name, shape in
             (("in", (None, 8)), ("out", (None, 2)))]  # fmt: skip
    told = compare(gathered, Files(other), (specs[0],), (specs[1],), PRECISIONS["float32"])
    assert told.passed == (of > 0 or not still)
    assert bool(told.reason.startswith("on random inputs")) != told.passed
    assert not told.doubts
    told = compare(gathered, Files(other), (specs[0],), (specs[1],), PRECISIONS["int8"])
    assert told.passed
    assert ("of the values of input 'in' are the same" in "; ".join(told.doubts)) == bool(still)


def test_what_made_up_inputs_break_is_no_verdict_on_a_file():
    """Here the model itself gives no number for some of them."""
    from edgepress.compress import open_data
    from edgepress.compress.kernel.artifact import TensorSpec

    inputs = keras.Input((4,), name="in")
    model = keras.Model(inputs, layers.Activation(keras.ops.sqrt, name="out")(inputs))
    x = np.random.default_rng(0).uniform(1, 2, (20, 4)).astype("float32")
    x[:, 0] = 1.0
    part = (x, np.sqrt(x))
    gathered = gather(model, open_data({"train": part, "test": part}, model))
    specs = [TensorSpec(name, (None, 4), "float32") for name in ("in", "out")]
    told = compare(gathered, Files(model), (specs[0],), (specs[1],), PRECISIONS["float32"])
    assert told.passed
    assert "25% of the values of input 'in'" in told.doubts[0]


@pytest.mark.parametrize(
    ("called", "said"), [(("a", "b"), False), (("p", "q"), False), (("q", "p"), True)]
)
def test_outputs_that_are_told_apart_by_their_values_alone_are_said(called, said):
    from edgepress.compress.kernel.artifact import TensorSpec

    keras.utils.set_random_seed(0)
    inputs = keras.Input((3,), name="in")
    model = keras.Model(inputs, [layers.Dense(2, name=name)(inputs) for name in "ab"])

    class Both(Files):
        def predict(self, arrays):
            given = self.model(next(iter(arrays.values())))
            return {name: value.numpy() for name, value in zip(called, given, strict=True)}

    specs = [TensorSpec("in", (None, 3), "float32")]
    outputs = tuple(TensorSpec(name, (None, 2), "float32") for name in sorted(called))
    told = compare(gather(model, None), Both(model), tuple(specs), outputs, PRECISIONS["float32"])
    assert told.passed
    assert any("by their values 'a' is its 'q'" in doubt for doubt in told.doubts) == said
