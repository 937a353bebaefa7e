"""Outputs of a training get their names together; a call killed in between knows its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgepress.compress.errors import InputError
from edgepress.compress.kernel import files
from edgepress.deploy.cli.supervised.training_state import (
    may_replace,
    published,
    state_folder,
    training_state,
)


def write(values: dict[str, Any], *targets: Path, text: str = "new") -> None:
    with published(values, *targets) as places:
        for place in places:
            files.write_text(place, text)


@pytest.mark.parametrize("output", ["", ".", "/"])
def test_an_output_without_a_name_of_its_own_is_refused(output: str) -> None:
    with pytest.raises(InputError, match="names no file"):
        state_folder(Path(output))


@pytest.mark.parametrize("whole", [1, 2])
def test_a_call_killed_between_two_outputs_goes_on_over_them(
    whole: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, table = tmp_path / "out.keras", tmp_path / "out.json"
    values = {"output": str(model), "force": False, "resume": False}
    state_folder(model).mkdir()
    plain, left = files._replace, [1 + whole]

    def killed(temporary: Path, target: Path) -> None:
        if not left[0]:
            raise SystemExit
        left[0] -= 1
        plain(temporary, target)

    monkeypatch.setattr(files, "_replace", killed)
    if whole == 1:
        with pytest.raises(SystemExit):
            write(values, model, table)
    else:
        write(values, model, table)
    monkeypatch.undo()
    assert (table.exists(), model.exists()) == (True, whole == 2)
    assert not may_replace(values, table)
    again = {**values, "resume": True}
    assert may_replace(again, table)
    with training_state(model, True):
        write(again, model, table, text="again")
    assert (model.read_text(), table.read_text()) == ("again", "again")
    assert {path.name for path in tmp_path.iterdir()} == {"out.keras", "out.json"}


def test_what_somebody_else_wrote_in_the_meantime_stays(tmp_path: Path) -> None:
    model = tmp_path / "out.keras"
    values = {"output": str(model), "force": False, "resume": True}
    state_folder(model).mkdir()
    write(values, model)
    model.write_text("mine")
    assert not may_replace(values, model)
    assert may_replace({**values, "force": True}, model)
