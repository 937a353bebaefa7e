import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from variants import mostly_slow

from edgepress.compress.data import open_data
from edgepress.compress.errors import InputError
from edgepress.compress.models.rebuilding.copying import copy_model
from edgepress.compress.specs.recipe import PruneSpec
from edgepress.compress.training import fit
from edgepress.compress.training.numerics.moving_statistics import prompt_statistics
from edgepress.compress.weights import prune_weights
from edgepress.compress.weights.allocation.planning import current_masks
from edgepress.compress.weights.masked_training import HoldMasks
from edgepress.compress.weights.masks.prunable import find_kernels

layers = keras.layers


def zeros_of(model):
    kernels, _ = find_kernels(model)
    return {k.path: (k.value() == 0).sum() for k in kernels}, {k.path: k.size for k in kernels}


def classifier():
    keras.utils.set_random_seed(1)
    return keras.Sequential(
        [
            keras.Input((6, 6, 4), name="image"),
            layers.Conv2D(8, 3, name="conv"),
            layers.BatchNormalization(name="norm"),
            layers.ReLU(),
            layers.Flatten(),
            layers.Dense(16, activation="relu", name="hidden"),
            layers.Dense(3, name="head"),
        ]
    )


@pytest.fixture(scope="module")
def images():
    random = np.random.default_rng(0)
    x = random.random((96, 6, 6, 4), np.float32)
    y = np.digitize(x.mean((1, 2, 3)), [0.48, 0.52])
    return {"x_train": x[:64], "y_train": y[:64], "x_val": x[64:], "y_val": y[64:]}


@settings(max_examples=4, deadline=None)
@given(st.floats(0.05, 0.95), st.sampled_from(["uniform", "global", "lamp", "erk"]))
def test_any_layer_holds_exactly_the_zeros_asked_for_in_the_saved_file(
    any_model, tmp_path_factory, sparsity, allocation
):
    result = prune_weights(any_model, None, PruneSpec(sparsity=sparsity, allocation=allocation))
    path = tmp_path_factory.mktemp("saved") / "model.keras"
    result.model.save(path)
    zeros, sizes = zeros_of(keras.models.load_model(path))
    if allocation == "uniform":
        assert zeros == {p: round(sparsity * n) for p, n in sizes.items()}
    else:
        kept = len(sizes) if allocation in ("global", "lamp") else 0
        total = sum(sizes.values())
        assert sum(zeros.values()) == pytest.approx(round(sparsity * total), abs=kept)
    assert sum(r.removed for r in result.removed) == sum(zeros.values())
    assert not any(zeros_of(any_model)[0].values())


@pytest.mark.parametrize("pattern", ["2:4", "1:4", "4:8"])
def test_any_layer_holds_the_pattern(any_model, pattern):
    n, m = (int(p) for p in pattern.split(":"))
    result = prune_weights(any_model, None, PruneSpec(structure="nm", pattern=pattern))
    for kernel in find_kernels(result.model)[0]:
        planes = kernel.planes()
        for i in range(0, planes.shape[1], m):
            group = planes[:, i : i + m]
            assert ((group != 0).sum(1) == min(n, group.shape[1])).all()


@pytest.mark.parametrize("block", ["1x4", "4x1", "1x16", "2x3"])
def test_any_layer_holds_whole_blocks(any_model, block):
    r, c = (int(p) for p in block.split("x"))
    spec = PruneSpec(structure="blocks", block=block, sparsity=0.5, allocation="uniform")
    for kernel in find_kernels(prune_weights(any_model, None, spec).model)[0]:
        planes = kernel.planes()
        high, wide = -(-planes.shape[1] // r), -(-planes.shape[2] // c)
        for s, i, o in np.ndindex(planes.shape[0], high, wide):
            part = planes[s, i * r : (i + 1) * r, o * c : (o + 1) * c] == 0
            assert part.all() or not part.any()
        assert abs((planes == 0).sum() - planes.size / 2) <= r * c / 2 + 0.5


CASES = {
    "one-shot": {"schedule": "one-shot"},
    "iterative": {"schedule": "iterative", "steps": 2},
    "constant": {"schedule": "constant", "begin_step": 2, "frequency": 3},
    "polynomial": {"schedule": "polynomial", "frequency": 2},
    "moving": {"schedule": "moving", "frequency": 2},
    "second-order": {"criterion": "second-order", "calibration_samples": 32},
    "blocks": {"structure": "blocks", "block": "2x2"},
    "nm": {"structure": "nm", "schedule": "polynomial", "frequency": 4},
    "kernels": {"structure": "kernels"},
    "rewind": {"schedule": "iterative", "steps": 2, "rewind": True},
    "sensitivity": {"allocation": "sensitivity", "calibration_samples": 32},
}


@pytest.mark.parametrize("case", mostly_slow(CASES, "one-shot", "polynomial", "nm"))
def test_training_keeps_the_zeros(images, case):
    model = classifier()
    data = open_data(images, model)
    spec = PruneSpec(sparsity=0.5, recover_epochs=2, recover_batch_size=8, **CASES[case])
    result = prune_weights(model, data, spec)
    zeros, sizes = zeros_of(result.model)
    slack = {"blocks": 4, "kernels": 9}.get(case, 0)
    assert sum(zeros.values()) == pytest.approx(sum(sizes.values()) / 2, abs=slack)
    assert result.sparsity == sum(zeros.values()) / sum(sizes.values())
    assert {r.group: r.removed for r in result.removed} == zeros
    assert result.after.value is not None
    assert len(result.history["loss"]) == 2 * spec.steps
    moved = model.get_layer("norm").gamma.numpy() != result.model.get_layer("norm").gamma.numpy()
    assert moved.any()


def test_zeros_are_positive_since_signs_do_not_compress(images):
    model = classifier()
    spec = PruneSpec(sparsity=0.5, recover_epochs=1, recover_batch_size=8)
    result = prune_weights(model, open_data(images, model), spec)
    for kernel in find_kernels(result.model)[0]:
        value = kernel.value()
        assert not np.signbit(value[value == 0]).any()


def test_the_same_seed_gives_the_same_weights(images):
    model = classifier()
    spec = PruneSpec(sparsity=0.5, schedule="polynomial", recover_epochs=2, recover_batch_size=8)
    a, b = (prune_weights(model, open_data(images, model), spec, seed=4).model for _ in range(2))
    for x, y in zip(a.weights, b.weights, strict=True):
        np.testing.assert_array_equal(x.numpy(), y.numpy())


class Interrupt:
    """A user who presses Ctrl-C in the second epoch of the last training."""

    def __init__(self, trainings):
        self.left = trainings

    def stage(self, text):
        self.left -= text.startswith("training")

    def step(self, done, total, text=""):
        if self.left == 0 and text.startswith("epoch 2"):
            raise KeyboardInterrupt


@pytest.mark.parametrize(
    "case",
    mostly_slow(["one-shot", "polynomial", "iterative", "moving"], "iterative"),
)
def test_a_stopped_pruning_goes_on_to_the_same_bits(images, tmp_path, case):
    from edgepress.compress.errors import Stopped

    model = classifier()
    spec = PruneSpec(sparsity=0.6, recover_epochs=3, recover_batch_size=8, **CASES[case])

    def run(folder, progress=None):
        data = open_data(images, model)
        return prune_weights(model, data, spec, state_dir=folder, progress=progress).model

    whole = run(tmp_path / "whole")
    with pytest.raises(Stopped):
        run(tmp_path / "parts", Interrupt(spec.steps))
    resumed = run(tmp_path / "parts")
    for x, y in zip(whole.weights, resumed.weights, strict=True):
        np.testing.assert_array_equal(x.numpy(), y.numpy())


@pytest.mark.parametrize("target", [0.4, 700])
@pytest.mark.parametrize("options", [{}, {"protect": ["head"], "per_layer": {"conv": 0.2}}])
def test_a_target_in_parameters_is_the_number_that_stay_unequal_zero(target, options):
    model = classifier()
    random = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(random.uniform(0.1, 1, weight.shape))
    result = prune_weights(model, None, PruneSpec(target_params=target, **options))
    left = sum(np.count_nonzero(w.numpy()) for w in result.model.weights)
    wanted = target if target > 1 else target * model.count_params()
    assert left == pytest.approx(wanted, abs=1)


@pytest.mark.parametrize(
    ("target", "message"), [(20, "can't be reached"), (10**6, "asks for no pruning")]
)
def test_an_impossible_target_in_parameters_is_refused(target, message):
    with pytest.raises(InputError, match=message):
        prune_weights(classifier(), None, PruneSpec(target_params=target))


@pytest.mark.slow
def test_a_rewound_round_trains_the_weights_that_came_in(images):
    model = classifier()
    data = open_data(images, model)
    spec = PruneSpec(
        sparsity=0.5, schedule="iterative", steps=2, rewind=True, recover_epochs=1,
        recover_batch_size=8,
    )  # fmt: skip
    result = prune_weights(model, data, spec)
    again = copy_model(model)
    kernels, _ = find_kernels(again)
    masks = current_masks(find_kernels(result.model)[0], "weights")
    with prompt_statistics(again, data.training_split.steps(8)):
        fit(again, data, spec.recovery(), callbacks=[HoldMasks(kernels, masks)], teacher=model)
    for a, b in zip(result.model.weights, again.weights, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


def values_of(model):
    return [len(np.unique(k.value())) for k in find_kernels(model, depthwise=True)[0]]


@pytest.mark.parametrize(
    "case",
    mostly_slow(["one-shot", "polynomial", "moving", "second-order", "nm"], "polynomial", "nm"),
)
def test_pruning_after_clustering_keeps_few_values(images, case):
    model = classifier()
    data = open_data(images, model)
    clustered = prune_weights(model, data, PruneSpec(structure="clusters", clusters=6)).model
    assert max(values_of(clustered)) <= 6
    spec = PruneSpec(sparsity=0.5, recover_epochs=1, recover_batch_size=8, **CASES[case])
    result = prune_weights(clustered, data, spec)
    assert max(values_of(result.model)) <= 6
    assert result.sparsity == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("ema", mostly_slow([None, 0.9], 0.9))
def test_clustering_after_pruning_keeps_the_zeros_through_training(images, ema):
    model = classifier()
    data = open_data(images, model)
    pruned = prune_weights(model, data, PruneSpec(sparsity=0.6)).model
    training = {"epochs": 2, "batch_size": 8, "ema": ema}
    spec = PruneSpec(structure="clusters", clusters=5, recover=training)
    result = prune_weights(pruned, data, spec)
    for old, new in zip(find_kernels(pruned)[0], find_kernels(result.model)[0], strict=True):
        np.testing.assert_array_equal(old.value() == 0, new.value() == 0)
    assert max(values_of(result.model)) <= 5
    assert len(result.history["loss"]) == 2
    assert result.after.value is not None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"clusters": 1}, "greater than or equal to 2"),
        ({"sparsity": 0.5}, "takes clusters or target_size, not sparsity"),
        ({"schedule": "polynomial"}, "takes clusters or target_size, not schedule"),
        ({"structure": "weights", "sparsity": 0.5, "clusters": 4}, "is for structure clusters"),
    ],
)
def test_impossible_clusters_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        PruneSpec(**{"structure": "clusters", **options})


def test_protected_and_overridden_layers():
    model = classifier()
    spec = PruneSpec(sparsity=0.5, protect=["head"], per_layer={"conv": 0.25}, allocation="uniform")
    result = prune_weights(model, None, spec)
    zeros, sizes = zeros_of(result.model)
    assert zeros == {
        "conv/kernel": sizes["conv/kernel"] // 4,
        "hidden/kernel": sizes["hidden/kernel"] // 2,
        "head/kernel": 0,
    }
    assert [(p.layer, p.reason) for p in result.pinned] == [("head/kernel", "protected")]
    assert any("may be pruned are zero" in note for note in result.notes)
    assert any("do not make it faster" in note for note in result.notes)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"structure": "weights", "sparsity": 0.9}, "for its dense layers (88% of the weights)"),
        ({"structure": "blocks", "block": "4x1", "sparsity": 0.9}, "run faster in a float32"),
        ({"structure": "blocks", "block": "8x2", "sparsity": 0.9}, "run faster in a float32"),
        ({"structure": "blocks", "block": "4x1", "sparsity": 0.5}, "not make it faster yet"),
        ({"structure": "blocks", "block": "1x4", "sparsity": 0.9}, "do not make it faster: "),
        ({"structure": "weights", "sparsity": 0.9, "protect": ["h*"]}, "use structure channels"),
    ],
)
def test_what_zeros_bring_in_speed_is_said_of_the_model_and_the_pattern(options, said):
    notes = prune_weights(classifier(), None, PruneSpec(allocation="uniform", **options)).notes
    (note,) = (n for n in notes if "faster" in n)
    assert said in note
    assert ("dense layers" in note) == ("protect" not in options)


def test_second_order_names_what_it_could_not_see():
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.Input((5, 4)), layers.GRU(6, name="memory"), layers.Dense(3, name="head")]
    )
    random = np.random.default_rng(0)
    arrays = {"x": random.random((40, 5, 4), np.float32), "y": random.random((40, 3))}
    spec = PruneSpec(sparsity=0.5, criterion="second-order", calibration_samples=32)
    result = prune_weights(model, open_data(arrays, model), spec)
    (note,) = (n for n in result.notes if n.startswith("second order"))
    assert "memory/gru_cell/kernel" in note
    assert "head" not in note


def test_pruning_again_keeps_the_zeros_there_are():
    model = classifier()
    first = prune_weights(model, None, PruneSpec(sparsity=0.5)).model
    second = prune_weights(first, None, PruneSpec(structure="nm", pattern="2:4")).model
    for kernel in find_kernels(second)[0]:
        assert (kernel.value() == 0).mean() >= 0.5
    third = prune_weights(first, None, PruneSpec(sparsity=0.8)).model
    for a, b in zip(find_kernels(first)[0], find_kernels(third)[0], strict=True):
        assert not b.value()[a.value() == 0].any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"schedule": "polynomial"}, "prunes during training, but recover_epochs is 0"),
        ({"recover_epochs": 1}, "recover_epochs needs data"),
        ({"schedule": "moving"}, "prunes during training, but recover_epochs is 0"),
        ({"criterion": "second-order"}, "criterion second-order needs data"),
        ({"criterion": "l7"}, "unknown weight criterion 'l7'"),
        ({"protect": ["nothing"]}, "protect 'nothing' matches no layer"),
        ({"per_layer": {"conv": 1.5}}, "per_layer 'conv': sparsity 1.5 is not between 0 and 1"),
        ({"allocation": "sensitivity"}, "allocation sensitivity needs data"),
        ({"rewind": True}, "rewind is for schedule iterative with recover_epochs"),
        ({"structure": "nm", "pattern": "1:4"}, "pattern 1:4 has the sparsity 0.75, not 0.5"),
        ({"protect": ["*"]}, "has no kernel that can be pruned"),
    ],
)
def test_what_cannot_be_is_refused_before_any_work(options, message):
    with pytest.raises(InputError) as caught:
        prune_weights(classifier(), None, PruneSpec(sparsity=0.5, **options))
    assert message in caught.value.format_message()


def test_a_ramp_that_cannot_begin_is_refused(images):
    model = classifier()
    spec = PruneSpec(sparsity=0.5, schedule="polynomial", begin_step=500, recover_epochs=1)
    with pytest.raises(InputError, match="begin_step 500 does not lie before the ramp's end"):
        prune_weights(model, open_data(images, model), spec)


def test_masks_of_a_pattern_cannot_move(images):
    model = classifier()
    spec = PruneSpec(structure="nm", pattern="2:4", schedule="moving", recover_epochs=1)
    with pytest.raises(InputError, match="schedule moving is for structure weights, not nm"):
        prune_weights(model, open_data(images, model), spec)


def test_second_order_loses_less_than_magnitude(images):
    model = classifier()
    data = open_data(images, model)
    x = images["x_val"]
    wanted = model.predict(x, verbose=0)

    def error(criterion):
        spec = PruneSpec(sparsity=0.6, criterion=criterion, calibration_samples=64)
        made = prune_weights(model, data, spec).model.predict(x, verbose=0)
        return np.square(made - wanted).mean()

    assert error("second-order") < 0.5 * error("l1")


def test_the_given_model_stays_as_it_is(images):
    model = classifier()
    before = copy_model(model)
    spec = PruneSpec(sparsity=0.5, recover_epochs=1, criterion="second-order")
    prune_weights(model, open_data(images, model), spec)
    for a, b in zip(model.weights, before.weights, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


def test_each_training_of_a_step_has_its_log_and_all_options_of_a_training(images, tmp_path):
    model = classifier()
    training = {"epochs": 2, "batch_size": 32, "optimizer": "sgd", "clipnorm": 1e-9}
    training["log_csv"] = str(tmp_path / "log.csv")
    spec = PruneSpec(sparsity=0.5, schedule="iterative", steps=2, recover=training)
    result = prune_weights(model, open_data(images, model), spec)
    rows = {path.name: len(path.read_text().splitlines()) - 1 for path in tmp_path.iterdir()}
    assert rows == {"log-round-1.csv": 2, "log-round-2.csv": 2}
    for old, new in zip(find_kernels(model)[0], find_kernels(result.model)[0], strict=True):
        left = new.value() != 0
        np.testing.assert_allclose(new.value()[left], old.value()[left], atol=1e-7)
