"""Time series in tables: windows, groups, events and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgepress.compress import DataSpec
from edgepress.compress.data import Dataset, open_data
from edgepress.compress.data.readers.series.windows import window_labels, window_starts
from edgepress.compress.errors import InputError


def network(window: int | None, sensors: int, classes: int = 2) -> keras.Model:
    inputs = keras.Input((window, sensors), name="motion")
    x = keras.layers.GlobalAveragePooling1D()(inputs)
    return keras.Model(inputs, keras.layers.Dense(classes, activation="softmax")(x))


def table(subjects: int = 6, rows: int = 100) -> pd.DataFrame:
    """Each row's first sensor counts on through the table, so a window shows which rows it has."""
    n = subjects * rows
    return pd.DataFrame(
        {
            "x": np.arange(n, dtype=float),
            "y": np.sin(np.arange(n)),
            "subject": np.repeat([f"s{k}" for k in range(subjects)], rows),
            "activity": np.where(np.arange(n) // (rows // 2) % 2 == 0, "sit", "walk"),
        }
    )


def written(frame: pd.DataFrame, path: Path) -> Path:
    frame.to_csv(path, index=False)
    return path


def rows_of(data: Dataset) -> dict[str, tuple[Any, Any]]:
    found = {}
    for split in (data.train, data.val, data.test):
        if split is not None:
            parts = list(split.in_order(64).as_numpy_iterator())
            found[split.name] = tuple(np.concatenate(side) for side in zip(*parts, strict=True))
    return found


def test_no_group_is_in_two_splits_and_no_window_in_two_groups(tmp_path: Path) -> None:
    path = written(table(), tmp_path / "motion.csv")
    spec = DataSpec(spec=path, target="activity", window=20, step=10, group_by="subject")
    data = open_data(spec, network(20, 2))
    splits = rows_of(data)
    groups = {}
    for name, (inputs, targets) in splits.items():
        first, last = inputs[:, 0, 0], inputs[:, -1, 0]
        np.testing.assert_array_equal(last - first, 19)
        np.testing.assert_array_equal(first // 100, last // 100)
        groups[name] = set((first // 100).tolist())
        # The majority of the rows; of as many the class that comes first by name.
        sits = (np.arange(20)[None] + first[:, None]) // 50 % 2 == 0
        np.testing.assert_array_equal(targets, sits.mean(1) < 0.5)
    assert not groups["train"] & groups["val"]
    assert groups["train"] | groups["val"] == set(range(6))
    assert sum(len(x) for x, _ in splits.values()) == 6 * 9
    assert data.class_names == ("sit", "walk")
    told = " ".join(data.warnings)
    assert "54 windows of 20 rows every 10, labelled by the majority" in told
    assert "of 6 groups" in told


def test_overlapping_windows_of_one_recording_do_not_meet_across_splits(tmp_path: Path) -> None:
    path = written(table(1, 2000).drop(columns="subject"), tmp_path / "motion.csv")
    spec = DataSpec(spec=path, target="activity", window=20, step=5)
    data = open_data(spec, network(20, 2))
    rows = {
        name: {int(v) for v in inputs[..., 0].ravel()}
        for name, (inputs, _) in rows_of(data).items()
    }
    assert rows["train"]
    assert not rows["train"] & rows["val"]
    assert "share rows with the validation split" in " ".join(data.warnings)


def test_files_of_a_folder_are_recordings_that_stay_on_one_side(tmp_path: Path) -> None:
    for number, (_, part) in enumerate(table().groupby("subject")):
        written(part.drop(columns="subject"), tmp_path / f"{number}.csv")
    spec = DataSpec(spec=tmp_path, target="activity", window=30, window_label="last")
    splits = rows_of(open_data(spec, network(30, 2)))
    files = {n: set((x[:, 0, 0] // 100).tolist()) for n, (x, _) in splits.items()}
    assert not files["train"] & files["val"]
    for inputs, targets in splits.values():
        np.testing.assert_array_equal(targets, inputs[:, -1, 0] // 50 % 2)


def test_a_group_in_two_given_splits_is_refused(tmp_path: Path) -> None:
    for split in ("train", "test"):
        (tmp_path / split).mkdir()
        written(table(), tmp_path / split / "a.csv")
    spec = DataSpec(spec=tmp_path, target="activity", window=20, group_by="subject")
    with pytest.raises(InputError, match="group 's0' is in the train split and in the test"):
        open_data(spec, network(20, 2))


def test_windows_stop_at_gaps_in_time_and_gaps_in_values_are_filled(tmp_path: Path) -> None:
    frame = table(1, 200).drop(columns="subject")
    frame["seconds"] = np.arange(200) * 0.02 + np.where(np.arange(200) >= 105, 7.0, 0.0)
    frame.loc[50, "x"] = np.nan
    path = written(frame, tmp_path / "motion.csv")
    spec = DataSpec(spec=path, target="activity", window=10, time_column="seconds")
    data = open_data(spec, network(10, 2))
    firsts = np.concatenate([x[:, 0, 0] for x, _ in rows_of(data).values()])
    assert sorted(firsts) == [*range(0, 96, 10), *range(105, 191, 10)]
    told = " ".join(data.warnings)
    assert "1 gaps, the first behind row 105" in told
    assert "column 'x': 1 gaps filled along time" in told


def test_events_label_the_rows_between_start_and_end(tmp_path: Path) -> None:
    frame = table(1, 200).drop(columns=["subject", "activity"])
    frame["seconds"] = np.arange(200) / 10
    path = written(frame, tmp_path / "motion.csv")
    events = pd.DataFrame({"start": [0, 10], "end": [8, 20], "label": ["sit", "walk"]})
    spec = DataSpec(
        spec=path, events=str(written(events, tmp_path / "e.csv")), window=10, time_column="seconds"
    )
    data = open_data(spec, network(10, 2))
    by_first = {int(x[0, 0]): int(y) for xs, ys in rows_of(data).values()
                for x, y in zip(xs, ys, strict=True)}  # fmt: skip
    assert by_first == {
        **dict.fromkeys(range(0, 80, 10), 0),
        **dict.fromkeys(range(100, 200, 10), 1),
    }
    assert "2 without a label are left out" in " ".join(data.warnings)


@settings(max_examples=60, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 40), min_size=1, max_size=5),
    window=st.integers(1, 12),
    step=st.integers(1, 15),
    seed=st.integers(0, 9),
)
def test_windows_are_those_of_a_plain_loop(
    lengths: list[int], window: int, step: int, seed: int
) -> None:
    edges = np.concatenate([[0], np.cumsum(lengths)])
    runs = np.stack([edges[:-1], edges[1:]], 1)
    labels = np.random.default_rng(seed).integers(-1, 3, edges[-1])
    starts = window_starts(runs, window, step)
    expected, majorities = [], []
    for first, stop in runs:
        place = first
        while place + window <= stop:
            expected.append(place)
            inside = labels[place : place + window].tolist()
            counts = [inside.count(k) for k in range(3)]
            none = inside.count(-1)
            majorities.append(-1 if none > max(counts) else counts.index(max(counts)))
            place += step
    assert starts.tolist() == expected
    assert window_labels(labels, starts, window, "majority").tolist() == majorities


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"window": 30}, "pass --window 20"),
        ({"window": 101, "model": 101}, "at most 100"),
        ({"window": 20, "target": None}, "--target"),
        ({"window": 20, "target": "missing"}, "no column 'missing'"),
        ({"window": 20, "group_by": "who"}, "no column 'who'"),
        ({"window": 20, "time_column": "y"}, "time goes from"),
        ({"window": 20, "window_label": "mean"}, "classes have no mean"),
        ({"window": 20, "classes": ("sit", "run")}, "label 'walk' isn't among"),
        ({"window": 20, "events": "nowhere.csv"}, "one of --target and --events"),
    ],
)
def test_what_makes_no_windows_is_refused(
    tmp_path: Path, changes: dict[str, Any], told: str
) -> None:
    path = written(table(), tmp_path / "motion.csv")
    options = {"target": "activity", "group_by": "subject", **changes}
    rows = options.pop("model", 20)
    with pytest.raises(InputError, match=told):
        open_data(DataSpec(spec=path, **options), network(rows, 2))


def test_rows_of_a_plain_table_are_grouped_too(tmp_path: Path) -> None:
    path = written(table(), tmp_path / "rows.csv")
    inputs = keras.Input((2,))
    model = keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(inputs))
    spec = DataSpec(spec=path, target="activity", group_by="subject")
    groups = {
        n: set((x[:, 0] // 100).tolist()) for n, (x, _) in rows_of(open_data(spec, model)).items()
    }
    assert not groups["train"] & groups["val"]
    only = written(table(1), tmp_path / "one.csv")
    with pytest.raises(InputError, match="all samples are of one group, 's0'"):
        open_data(DataSpec(spec=only, target="activity", group_by="subject"), model)


def test_a_step_without_a_window_is_refused() -> None:
    with pytest.raises(ValueError, match="step is for windows of rows: give window too"):
        DataSpec(spec="motion.csv", step=5)


def test_each_group_with_a_label_of_its_own_is_told(tmp_path: Path) -> None:
    frame = table(2)
    frame["activity"] = np.where(frame["subject"] == "s0", "sit", "walk")
    path = written(frame, tmp_path / "motion.csv")
    spec = DataSpec(spec=path, target="activity", window=20, group_by="subject")
    told = " ".join(open_data(spec, network(20, 2)).warnings)
    assert "no group of the training split has class" in told


@pytest.mark.parametrize("classes", [(), ("0", "1")])
def test_rows_whose_label_is_a_question_mark_have_none(
    tmp_path: Path, classes: tuple[str, ...]
) -> None:
    frame = table(4)
    frame["activity"] = np.where(frame["activity"] == "sit", "1", "0")
    frame.loc[:49, "activity"] = "?"
    path = written(frame, tmp_path / "motion.csv")
    spec = DataSpec(spec=path, target="activity", window=10, group_by="subject", classes=classes)
    data = open_data(spec, network(10, 2))
    found = {int(v) for x, y in rows_of(data).values() for v in (x[:, 0, 0] // 50 + 100 * y)}
    # The first of each two stretches is 1; that of the first subject has no label.
    assert found == {1, 102, 3, 104, 5, 106, 7}
    assert "5 without a label are left out" in " ".join(data.warnings)
