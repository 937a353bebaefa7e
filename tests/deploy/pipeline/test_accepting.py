"""The verdict on a run: nothing that speaks against it hides anything else, and each says a way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from edgepress.benchmarks.records import BenchmarkRecord, ExportRecord, StageRecord, Verdict
from edgepress.compress.data.output_task import OutputTask
from edgepress.compress.data.tasks import Task
from edgepress.deploy.pipeline.acceptance import judge_run
from edgepress.deploy.pipeline.pipeline import run
from edgepress.deploy.pipeline.stage_gains import receipt
from edgepress.deploy.recipe import Recipe

TASK = Task((OutputTask("y", "classification", "sparse_categorical_crossentropy", "accuracy"),))
FAILURES = {"failures": [{"device": "board", "artifact": "", "reason": "no answer"}]}


def stages(source: float, pruned: float) -> list[StageRecord]:
    return [
        StageRecord(name="00-source", kind="source", value=source),
        StageRecord(
            name="01-prune-channels",
            kind="prune",
            structure="channels",
            value=pruned,
            before={"value": source},
            after={"value": pruned},
        ),
        StageRecord(name="02-strip", kind="strip", value=pruned),
    ]


def artifact(format: str, quantize: str, value: float | None) -> dict[str, Any]:
    return {"path": f"artifacts/{quantize}.{format}", "format": format, "quantize": quantize,
            "verified": {"passed": True, "value": value}}  # fmt: skip


def judged(
    files: list[dict[str, Any]],
    failed: list[dict[str, Any]] | None = None,
    source: float = 0.9,
    pruned: float = 0.9,
    **changes: Any,
) -> Verdict:
    step = {"structure": "channels", "target_macs": 0.5, "recover_epochs": 3}
    values = {"model": "m", "data": "d", "prune": [step], "accept": {"max_drop": 0.01}, **changes}
    exported = ExportRecord.model_validate({"artifacts": files, "failed": failed or []})
    measured = BenchmarkRecord.model_validate(FAILURES)
    return judge_run(
        Recipe.model_validate(values), TASK, stages(source, pruned), exported, measured
    )


def test_every_check_every_file_and_every_device_is_told() -> None:
    files = [artifact("tflite", "float32", 0.45), artifact("onnx", "int8", 0.4)]
    refused = [{"format": "tflite", "quantize": "int8", "reason": "noise 0.9"},
               {"format": "c", "quantize": "int8", "reason": "noise 0.8"}]  # fmt: skip
    step = {"structure": "channels", "target_macs": 0.5, "max_drop": 0.1}
    verdict = judged(files, refused, pruned=0.45, prune=[step])
    assert not verdict.accepted
    assert [check.where for check in verdict.unmet] == [
        "01-prune-channels", "tflite float32", "onnx int8"
    ]  # fmt: skip
    assert [file.format for file in verdict.refused] == ["tflite", "c"]
    assert [failure.device for failure in verdict.failures] == ["board"]
    assert len(verdict.lines) == 6
    assert all(
        check.next and check.next in verdict.lines[i] for i, check in enumerate(verdict.unmet)
    )
    assert verdict.exit_code == 1


@pytest.mark.parametrize("accept", [{}, {"max_drop": 0.01}])
def test_a_file_that_nothing_could_run_is_not_accepted(accept: dict[str, float]) -> None:
    unrun = {**artifact("tflite", "float32", None), "verified": None}
    verdict = judged([unrun, artifact("onnx", "float32", 0.9)], accept=accept)
    assert not verdict.accepted
    (check,) = verdict.unmet
    assert (check.what, check.where) == ("verified", "tflite float32")
    assert "--select-ops" in check.next


def test_a_device_alone_is_no_reason_against_the_files() -> None:
    verdict = judged([artifact("tflite", "float32", 0.9)])
    assert verdict.accepted
    assert verdict.exit_code == 3


@pytest.mark.parametrize(
    ("format", "quantize", "pruned", "words"),
    [
        ("tflite", "int8", 0.9, ["--qat-epochs", "--int8-max-drop"]),
        ("c", "int8", 0.9, ["--qat-epochs"]),
        ("onnx", "int8", 0.9, ["--calibration-method"]),
        ("tflite", "int4-weights", 0.9, ["--quantize"]),
        ("tflite", "int8", 0.5, ["01-prune-channels", "--recover-epochs"]),
    ],
)
def test_what_to_try_depends_on_where_the_metric_was_lost(
    format: str, quantize: str, pruned: float, words: list[str]
) -> None:
    (check,) = judged([artifact(format, quantize, 0.4)], pruned=pruned).unmet
    assert (check.before, check.after, check.allowed) == (0.9, 0.4, 0.01)
    assert all(word in check.next for word in words)


def test_what_an_export_advises_itself_stands() -> None:
    own = {"format": "onnx", "quantize": "int8", "reason": "off", "next": "another opset"}
    (file,) = judged([], [own]).refused
    assert file.next == "another opset"


def test_a_file_without_a_score_and_no_file_at_all_are_not_accepted() -> None:
    assert "unknown" in judged([artifact("tflite", "float32", None)]).unmet[0].text
    (check,) = judged([]).unmet
    assert "no file was published" in check.text


BOTH = Task(
    (
        OutputTask("kind", "classification", "sparse_categorical_crossentropy", "accuracy"),
        OutputTask("size", "regression", "mse", "mae"),
    )
)


def rows(kind: float, size: float) -> list[dict[str, Any]]:
    return [
        {"output": "kind", "metric": "accuracy", "value": kind},
        {"output": "size", "metric": "mae", "value": size, "headline": False},
    ]


@pytest.mark.parametrize(
    ("kind", "size", "unmet"),
    [
        (0.9, 10.0, []),
        (0.895, 10.05, []),
        (0.95, 12.0, ["mae"]),
        (0.8, 9.0, ["accuracy"]),
        (0.8, 12.0, ["accuracy", "mae"]),
    ],
)
def test_each_output_of_a_file_is_held_to_the_bound_in_its_own_unit(
    kind: float, size: float, unmet: list[str]
) -> None:
    before = {"name": "00-source", "kind": "source", "value": 0.9, "metrics": rows(0.9, 10.0)}
    file = artifact("tflite", "int8", kind)
    file["verified"]["metrics"] = rows(kind, size)
    verdict = judge_run(
        Recipe.model_validate({"model": "m", "data": "d", "accept": {"max_drop": 0.01}}),
        BOTH,
        [StageRecord.model_validate(before), StageRecord.model_validate(before)],
        ExportRecord.model_validate({"artifacts": [file]}),
        BenchmarkRecord(),
    )
    assert [check.what for check in verdict.unmet] == unmet
    assert verdict.accepted == (not unmet)
    for check in verdict.unmet:
        assert f"of output '{'size' if check.what == 'mae' else 'kind'}'" in check.text
        assert "--qat-epochs" in check.next


@pytest.mark.parametrize(("value", "accepted"), [(0.9, True), (0.5, False)])
@pytest.mark.parametrize("old", ["stage", "file"])
def test_records_without_figures_by_output_are_held_to_the_headline(
    value: float, accepted: bool, old: str
) -> None:
    told = [{"output": "y", "metric": "accuracy", "value": 0.9}]
    first = {"name": "00-source", "kind": "source", "value": 0.9}
    file = artifact("tflite", "float32", value)
    if old == "file":
        first["metrics"] = told
    else:
        file["verified"]["metrics"] = [{**told[0], "value": value}]
    verdict = judge_run(
        Recipe.model_validate({"model": "m", "data": "d", "accept": {"max_drop": 0.01}}),
        TASK,
        [StageRecord.model_validate(first)],
        ExportRecord.model_validate({"artifacts": [file]}),
        BenchmarkRecord(),
    )
    assert verdict.accepted == accepted


def test_a_file_verified_on_a_part_is_held_against_the_given_model_on_that_part(
    tmp_path: Path,
) -> None:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((4,))
    model = keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(inputs))
    model.save(tmp_path / "m.keras")
    x = np.random.default_rng(0).normal(size=(80, 4)).astype("float32")
    y = model.predict(x, verbose=0).argmax(1)
    y[::3] = 1 - y[::3]
    np.savez(tmp_path / "d.npz", x_train=x[:20], y_train=y[:20], x_test=x[20:], y_test=y[20:])
    recipe = {
        "model": str(tmp_path / "m.keras"),
        "data": str(tmp_path / "d.npz"),
        "export": {"formats": ["tflite"], "quantize": ["float32"], "verify_samples": 7},
        "benchmark": {"runs": 1, "launches": 1, "max_seconds": 1},
        "accept": {"max_drop": 0},
    }
    found = run(Recipe.model_validate(recipe), tmp_path / "run")
    (file,) = found.contents.artifacts
    assert file.verified is not None
    assert file.verified.value != found.contents.before.value
    assert found.accepted, found.verdict.lines


def stage(name: str, **more: Any) -> StageRecord:
    base = {"name": name, "float_sha256": name, "params": 10, "macs": 100, "raw_bytes": 50,
            "gzip_bytes": 40}  # fmt: skip
    return StageRecord.model_validate({**base, **more})


@pytest.mark.parametrize(
    ("structure", "after", "real", "words"),
    [
        ("channels", 0.4, True, "60% less latency"),
        ("channels", 0.99, True, "the same within the noise"),
        ("channels", 1.3, True, "grew by 30%"),
        ("weights", 0.99, True, "for speed use --structure channels"),
        ("channels", 0.4, False, "estimated or emulated"),
    ],
)
def test_the_receipt_tells_a_time_from_noise_and_from_an_estimate(
    structure: str, after: float, real: bool, words: str
) -> None:
    rows = [{"artifact": n, "sha256": n, "device": "d", "median_ms": ms, "timing_valid": real}
            for n, ms in (("first", 1.0), ("second", after))]  # fmt: skip
    measured = BenchmarkRecord.model_validate({"rows": rows})
    _, line = receipt(
        [
            stage("first", kind="source"),
            stage("second", kind="prune", structure=structure, macs=50),
        ],
        measured,
    )
    assert words in line.time_note
    assert (line.device, line.median_ms, line.timing_valid) == ("d", after, real)
    assert ("median_ms" in line.change) == real


def test_a_stage_that_was_not_measured_says_so() -> None:
    _, line = receipt(
        [stage("first", kind="source"), stage("second", kind="prune", structure="channels")],
        BenchmarkRecord(),
    )
    assert line.time_note == "the time wasn't measured"
    assert line.median_ms is None
