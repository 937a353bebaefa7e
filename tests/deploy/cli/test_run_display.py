"""What people see at the end of a run: everything that speaks against it, and marked times."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgepress.benchmarks.records import DeviceFailure, UnmetCheck, Verdict, run_record
from edgepress.benchmarks.records.rows import NOT_REAL
from edgepress.compress.errors import EdgepressError
from edgepress.deploy.cli.run_display import finish
from edgepress.deploy.pipeline.pipeline import RunResult

CHECK = UnmetCheck(what="accuracy", where="tflite int8", text="0.9 fell to 0.4", next="more epochs")
FAILURE = DeviceFailure(device="ssh://board", reason="no answer")


def result(verdict: Verdict, **parts: Any) -> RunResult:
    values = {"version": 2, "verdict": verdict, "accepted": verdict.accepted, "unmet": [], **parts}
    base = {"before": {}, "after": {}, "skipped": [], "rejected": []}
    return RunResult(Path("run"), run_record({**base, **values}))


@pytest.mark.parametrize("as_json", [True, False])
@pytest.mark.parametrize(("unmet", "code"), [((CHECK,), 1), ((CHECK,) * 9, 1), ((), 3)])
def test_a_device_that_failed_hides_no_check(
    capsys: pytest.CaptureFixture[str], unmet: tuple[UnmetCheck, ...], code: int, as_json: bool
) -> None:
    verdict = Verdict.of(unmet, (), (FAILURE,))
    with pytest.raises(EdgepressError) as caught:
        finish(result(verdict, stages=[]), as_json)
    assert caught.value.exit_code == code
    message = caught.value.format_message()
    assert "\n" not in message
    for check in unmet[:1]:
        assert check.text in message
        assert check.next in message
    assert "ssh://board was not measured: no answer" in message
    assert all(line in capsys.readouterr().out for line in verdict.lines[:1])


def test_times_that_are_not_real_are_marked_in_tables_too(
    capsys: pytest.CaptureFixture[str],
) -> None:
    row = {"artifact": "a", "sha256": "a", "device": "mcu:tflm", "median_ms": 2.5,
           "timing_valid": False, "runs": 3}  # fmt: skip
    left_out = [{"device": "npu", "artifact": "m.tflite", "reason": "npu runs int8 alone"}]
    finish(
        result(
            Verdict.of(),
            stages=[{"name": "00-source", "float_sha256": "a"}],
            artifacts=[{"path": "artifacts/m.tflite", "sha256": "a", "bytes": 3}],
            benchmark={"rows": [row], "left_out": left_out},
        ),
        False,
    )
    out = capsys.readouterr().out
    lines = [line for line in out.splitlines() if "2.50 ms" in line]
    assert len(lines) == 3
    assert all("estimate" in line for line in lines)
    assert NOT_REAL in out
    assert "npu runs int8 alone: m.tflite" in out
    assert "accepted" in out


def test_each_output_has_its_row(capsys: pytest.CaptureFixture[str]) -> None:
    single = {"metric": "mae", "headline": False, "source_value": 2.0}
    both = [{"output": "box", "value": 3.0, **single}, {"output": "size", "value": 2.5, **single}]
    finish(result(Verdict.of(), stages=[{"name": "01-prune", "metrics": both}]), False)
    out = capsys.readouterr().out
    for name, change in (("box", "+50.0 %"), ("size", "+25.0 %")):
        (line,) = [line for line in out.splitlines() if line.startswith(name)]
        assert change in line
