"""What files may take: each is told to fit or not, and a limit holds only where that is shown."""

from __future__ import annotations

import json
from typing import Any

import pytest

from edgepress.benchmarks.records import BenchmarkRecord, ExportRecord, StageRecord, Verdict
from edgepress.benchmarks.report import report
from edgepress.compress.data.output_task import OutputTask
from edgepress.compress.data.tasks import Task
from edgepress.compress.errors import InputError
from edgepress.deploy.pipeline.acceptance import judge_run
from edgepress.deploy.pipeline.budgets import check_budgets
from edgepress.deploy.recipe import Recipe

TASK = Task((OutputTask("y", "classification", "sparse_categorical_crossentropy", "accuracy"),))


def recipe(accept: dict[str, Any], formats: str = "tflite", **export: Any) -> Recipe:
    values = {"model": "m", "data": "d", "accept": accept,
              "export": {"formats": formats, **export}}  # fmt: skip
    return Recipe.model_validate(values)


def row(sha256: str, **figures: Any) -> dict[str, Any]:
    return {"artifact": sha256, "sha256": sha256, "device": "local", **figures}


def judged(
    accept: dict[str, Any],
    rows: list[dict[str, Any]],
    comparisons: list[dict[str, Any]] | None = None,
    **files: dict[str, Any],
) -> Verdict:
    """The verdict on TFLite files by precision; the given model's float file is "given"."""
    artifacts = [
        {"path": f"artifacts/{name}.tflite", "format": "tflite", "quantize": name, "sha256": name,
         "verified": {"passed": True}, **facts} for name, facts in files.items()
    ]  # fmt: skip
    given = StageRecord(name="00-source", kind="source", raw_bytes=4000, float_sha256="given")
    exported = ExportRecord.model_validate({"artifacts": artifacts})
    measured = BenchmarkRecord.model_validate({"rows": rows, "comparisons": comparisons or []})
    asked = recipe(accept, quantize=list(files))
    return judge_run(asked, TASK, [given], exported, measured)


def test_every_file_must_fit_and_what_fits_is_named() -> None:
    rows = [row("float32", arena_bytes=900), row("int8", arena_bytes=300)]
    verdict = judged(
        {"max_bytes": "2kB", "max_ram": 512}, rows, float32={"bytes": 4000}, int8={"bytes": 1500}
    )
    assert verdict.fits == (
        "tflite float32 does not fit: size 4,000 of 2,000 bytes, RAM 900 of 512 bytes",
        "tflite int8 fits: size 1,500 of 2,000 bytes, RAM 300 of 512 bytes",
    )
    assert verdict.exit_code == 1
    assert [(check.where, check.after) for check in verdict.unmet] == [("tflite float32", 4000)]
    assert "tflite int8 fits" in verdict.unmet[0].next


def test_what_would_do_is_said_where_nothing_fits() -> None:
    verdict = judged({"max_bytes": "1kB"}, [], int8={"bytes": 1600})
    assert "--target-size 0.62 --target-precision int8" in verdict.unmet[0].next
    alone = judged({"max_bytes": "1kB"}, [], float32={"bytes": 4000})
    assert alone.unmet[0].next == "--quantize int8"


def test_shares_are_those_of_the_given_model() -> None:
    rows = [row("given", arena_bytes=1000), row("int8", arena_bytes=400)]
    for share, accepted in (("50%", True), (0.3, False)):
        verdict = judged({"max_ram": share, "max_bytes": share}, rows, int8={"bytes": 1000})
        assert verdict.accepted == accepted
    without = judged({"max_ram": "50%"}, rows[1:], int8={"bytes": 1000})
    assert not without.accepted
    assert "no float32 TFLite file" in without.lines[0]


def test_memory_that_nothing_told_is_not_held() -> None:
    verdict = judged({"max_ram": "1MB"}, [], int8={"bytes": 10})
    assert not verdict.accepted
    assert "RAM not known" in verdict.lines[0]


def test_c_sources_are_held_to_their_own_arena() -> None:
    verdict = judged({"max_ram": 2048}, [row("int8", arena_bytes=300)], int8={"arena_bytes": 4096})
    assert verdict.fits == ("tflite int8 does not fit: RAM 4,096 of 2,048 bytes",)


@pytest.mark.parametrize(
    ("figures", "held", "said"),
    [
        ({"median_ms": 1.0, "ci95_ms": (0.9, 1.1)}, True, "latency 1 of 1.2 ms"),
        ({"median_ms": 1.15, "ci95_ms": (1.0, 1.3)}, False, "up to 1.3 with 95 % confidence"),
        ({"median_ms": 1.5, "ci95_ms": (1.4, 1.6)}, False, "latency 1.5 of 1.2 ms"),
        ({"median_ms": 0.1, "timing_valid": False}, False, "gives no real times"),
        ({"median_ms": 0.1, "device": "another"}, False, "not measured"),
    ],
)
def test_latency_is_held_where_its_interval_is(
    figures: dict[str, Any], held: bool, said: str
) -> None:
    verdict = judged({"max_latency": "1.2ms"}, [row("int8", **figures)], int8={"bytes": 10})
    assert verdict.accepted == held
    assert said in verdict.fits[0]


def test_a_share_of_the_time_is_that_of_the_comparison() -> None:
    rows = [row("given", median_ms=2.0), row("int8", median_ms=0.5)]
    beside = [{"a": "given", "b": "int8", "ratio": 0.6, "ci95": (0.55, 0.65), "device": "local"}]
    assert judged({"max_latency": 0.5}, rows, int8={"bytes": 10}).accepted
    assert not judged({"max_latency": 0.5}, rows, beside, int8={"bytes": 10}).accepted
    assert judged({"max_latency": 0.7}, rows, beside, int8={"bytes": 10}).accepted


def test_what_can_not_be_shown_is_refused_before_any_work() -> None:
    cases = (("max_ram", "onnx"), ("max_latency", "c"), ("max_bytes", "c-standalone"))
    for name, format in cases:
        with pytest.raises(InputError, match=f"{name} can't be shown for format {format}"):
            check_budgets(recipe({name: "50%"}, format))
        check_budgets(recipe({name: "50%"}))
    check_budgets(recipe({"max_bytes": "64kB"}, "onnx"))


def test_the_page_says_first_whether_files_fit(tmp_path: Any) -> None:
    verdict = judged({"max_bytes": "1kB"}, [], int8={"bytes": 1600})
    run = {
        "version": 1,
        "model": "m",
        "accepted": False,
        "stages": [],
        "verdict": verdict.model_dump(),
    }
    (tmp_path / "run").mkdir()

    (tmp_path / "run" / "run.json").write_text(json.dumps(run))
    for name in ("page.html", "page.md"):
        page = report([tmp_path / "run"], tmp_path / name).read_text()
        assert "tflite int8 does not fit: size 1,600 of 1,000 bytes" in page
