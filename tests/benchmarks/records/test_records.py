"""Records: paths stay inside the run, figures belong to files, only like is compared with like."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgepress.benchmarks.records import (
    VERSION,
    BenchmarkRecord,
    RunPath,
    RunRecord,
    read_run,
    run_record,
    write_run,
)
from edgepress.compress.errors import InputError

_NAMES = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=6)


@given(st.lists(_NAMES, min_size=1, max_size=4), st.lists(_NAMES, min_size=1, max_size=3))
def test_a_path_inside_means_the_run_wherever_it_lies(place: list[str], inside: list[str]) -> None:
    folder = Path("/", *place)
    path = RunPath.of(folder / "artifacts" / Path(*inside), folder)
    assert path.under(Path("/else/where")) == Path("/else/where/artifacts", *inside)
    assert RunPath.read(str(folder / "artifacts" / inside[0])) == f"artifacts/{inside[0]}"


@pytest.mark.parametrize("text", ["/a/b", "../b", "a/../../b", ""])
def test_a_path_that_leaves_the_run_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="inside"):
        RunPath(text)


def row(file: str, ms: float, device: str = "local", **more: Any) -> dict[str, Any]:
    return {"artifact": file, "path": file, "sha256": f"hash of {file}", "device": device,
            "median_ms": ms, "ci95_ms": [ms, ms], **more}  # fmt: skip


def benchmark(*rows: dict[str, Any], **more: Any) -> BenchmarkRecord:
    return BenchmarkRecord.model_validate({"rows": rows, **more})


def test_a_file_has_the_figures_of_its_hash_not_of_its_name() -> None:
    found = benchmark(row("m.tflite", 1.0))
    assert found.row_of("hash of m.tflite") is not None
    assert found.row_of("m.tflite") is None


def test_times_of_two_devices_are_never_compared() -> None:
    found = benchmark(
        row("a", 2.0, "mcu:tflm", timing_valid=False),
        row("b", 1.0, "mcu:ethos-u55-128", timing_valid=False),
        row("c", 1.0, "local"),
        row("d", 1.0, "ssh://board"),
        row("e", 0.5, "local", threads=4),
    )
    a, b, c, d, e = found.rows
    for one, other in ((a, b), (a, c), (c, d), (c, e), (a, a)):
        assert found.change(one, other) is None
    assert found.same_way(c.file, d.file) is None


@pytest.mark.parametrize(
    ("after", "verdict", "same"),
    [(1.04, "no difference shown", True), (0.5, "b is faster", False), (1.02, "b is slower", True),
     (0.5, None, False), (0.98, None, True)],
)  # fmt: skip
def test_a_change_within_the_noise_is_none(after: float, verdict: str | None, same: bool) -> None:
    told = [{"a": "a", "b": "b", "ratio": after, "ci95": [after, after], "verdict": verdict}]
    found = benchmark(
        row("a", 1.0),
        row("b", after),
        device={"name": "local", "smallest_difference": 0.03},
        comparisons=told if verdict else [],
    )
    change = found.change(*found.rows)
    assert change is not None
    assert change.same == same
    assert change.share == pytest.approx(after - 1)
    back = found.change(*reversed(found.rows))
    assert back is not None
    assert back.share == pytest.approx(1 / after - 1)


def test_stages_take_their_times_from_one_device() -> None:
    run = RunRecord.model_validate(
        {
            "stages": [{"name": n, "float_sha256": f"hash of {n}"} for n in ("a", "b", "c")],
            "benchmark": {
                "rows": [
                    *(row(n, 9.0, "mcu:tflm", timing_valid=False) for n in ("a", "b", "c")),
                    *(row(n, 1.0, "local") for n in ("a", "b")),
                ]
            },
        }
    )
    assert [t.device for t in run.stage_times] == ["local", "local", None]
    assert [t.ms for t in run.stage_times] == [1.0, 1.0, None]


def test_what_a_record_does_not_know_is_kept(tmp_path: Path) -> None:
    values = {"version": VERSION, "new": {"a": 1}, "stages": [{"name": "s", "other": [1, 2]}],
              "artifacts": [{"path": "artifacts/m.tflite", "verified": {"passed": True, "x": 3}}],
              "benchmark": {"rows": [row("m", 1.0, joules=2.0)]}}  # fmt: skip
    write_run(tmp_path / "run.json", run_record(values))
    assert json.loads((tmp_path / "run.json").read_text()) == values
    assert read_run(tmp_path / "run.json") == run_record(values)


def test_an_earlier_record_is_read_and_a_later_or_a_broken_one_refused(tmp_path: Path) -> None:
    file = "/old/place/run/artifacts/m.tflite"
    old = run_record({"artifacts": [{"path": file, "bytes": 3}],
                      "benchmark": {"rows": [{"artifact": file, "median_ms": 2.0}]}})  # fmt: skip
    (artifact,) = old.artifacts
    assert artifact.path == "artifacts/m.tflite"
    found = old.benchmark.row_of(artifact.file)
    assert found is not None
    assert found.median_ms == 2.0
    path = tmp_path / "run.json"
    for values, says in (
        ({"version": VERSION + 1}, f"version {VERSION + 1}"),
        ({"version": VERSION, "stages": [{"params": "many"}]}, "params"),
        ({"version": VERSION, "artifacts": [{"path": "/etc/passwd"}]}, "inside the run"),
        ([], "not the record"),
    ):
        path.write_text(json.dumps(values))
        with pytest.raises(InputError) as caught:
            read_run(path)
        assert says in caught.value.format_message()
        assert str(path) in caught.value.format_message()


ODD = {
    "stages.0.layers.0.type": {"stages": [{"layers": [{"name": "a", "params": 1}]}]},
    "stages.0.diagnosis.0.finding": {"stages": [{"diagnosis": [{"advice": "none"}]}]},
    "benchmark.devices.0": {"benchmark": {"devices": [{"warnings": 3}]}},
    "benchmark.device": {"benchmark": {"device": {"smallest_difference": "much"}}},
    "benchmark.profiles.0": {"benchmark": {"profiles": [{"artifact": "a", "operators": [{}]}]}},
    "data.samples": {"data": {"samples": [1, 2]}},
}


@pytest.mark.parametrize("place", ODD)
def test_what_pages_compute_with_is_checked_when_it_is_read(place: str) -> None:
    with pytest.raises(InputError, match=f"can't be read: {place}") as caught:
        run_record({"version": VERSION, **ODD[place]})
    assert "\n" not in str(caught.value)
