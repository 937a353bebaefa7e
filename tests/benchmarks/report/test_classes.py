"""What files decide, on the page: the model's decisions beside those of its files."""

from __future__ import annotations

from run_records import a_run

from edgepress.benchmarks.records import RunRecord, run_record
from edgepress.benchmarks.report.classes import classes
from edgepress.benchmarks.report.html import render_html

DECISIONS = {
    "output": "digit", "names": ["cat", "dog"], "source": [[5, 1], [0, 4]],
    "file": [[4, 2], [1, 3]], "changed": [[3, 0, 0, 1], [7, 1, 1, 0], [8, 0, 1, 0]],
}  # fmt: skip


def a_record(*decisions: tuple[str, dict[str, object]]) -> RunRecord:
    run = a_run()
    file = run["artifacts"][0]
    run["artifacts"] = [
        {**file, "path": f"artifacts/net_{precision}.tflite", "quantize": precision,
         "verified": {**file["verified"], "decisions": [told]}}
        for precision, told in decisions
    ]  # fmt: skip
    return run_record(run)


def test_scores_and_matrices_are_those_of_the_decisions() -> None:
    found = classes(a_record(("float16", DECISIONS), ("int8", DECISIONS)))
    assert found is not None
    assert [name for name, _ in found.matrices] == [
        "the model", "net_int8.tflite", "net_float16.tflite",
    ]  # fmt: skip
    rows = {row[0]: row[1:6] for row in found.scores.rows}
    assert rows["cat"] == ("6", "83.33 %", "100.00 %", "66.67 %", "80.00 %")
    assert rows["dog"] == ("4", "100.00 %", "80.00 %", "75.00 %", "60.00 %")
    assert found.matrices[0][1].rows == (("cat", "5", "1"), ("dog", "0", "4"))


def test_samples_that_changed_say_what_became_of_them() -> None:
    found = classes(a_record(("int8", DECISIONS)))
    assert found is not None
    assert found.changed is not None
    assert [(row[0], row[2], row[3], row[4], row[5]) for row in found.changed.rows] == [
        ("3", "cat", "cat", "dog", "✗ lost"),
        ("7", "dog", "dog", "cat", "✗ lost"),
        ("8", "cat", "dog", "cat", "✓ won"),
    ]


def test_a_class_without_samples_has_no_score() -> None:
    empty = {**DECISIONS, "source": [[0, 0], [0, 4]], "file": [[0, 0], [0, 4]], "changed": []}
    found = classes(a_record(("int8", empty)))
    assert found is not None
    assert found.scores.rows[0][1:4] == ("0", "–", "–")
    assert found.changed is None


def test_the_page_shows_classes_where_there_are_some() -> None:
    text = render_html([("run", a_record(("int8", DECISIONS)))])
    assert "Samples whose decision changed" in text
    assert "rows are the true classes" in text
    assert "true classes" not in render_html([("run", a_run())])
