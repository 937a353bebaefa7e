"""A search goes on from its journal only where that is whole."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgepress.compress.errors import InputError
from edgepress.deploy.searching.space import SearchRecipe
from edgepress.deploy.searching.study import begun, draw, open_study, record
from edgepress.deploy.searching.trial import Outcome

GOALS = ("maximize", "minimize")
RECIPE = SearchRecipe.model_validate(
    {
        "model": "m.keras",
        "data": "good.npz",
        "prune": [{"structure": "weights", "sparsity": 0.5}],
        "search": {"space": {"prune.0.sparsity": [0.3, 0.6]}, "objectives": ["metric", "bytes"]},
    }
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A journal with one trial that was done."""
    pytest.importorskip("optuna")
    path = tmp_path_factory.mktemp("journal") / "study.journal"
    study = open_study(path, RECIPE, GOALS, 1)
    number, _ = draw(study, RECIPE, 1)
    record(study, number, Outcome((0.9, 100.0), True, "", "artifacts/m.tflite", {}, "0" * 64))
    return path.read_bytes()


def _edited(content: bytes, name: str, value: Any) -> bytes:
    """The journal with a trial's attribute changed; left out where the value is None."""
    lines = []
    for line in content.splitlines():
        told = json.loads(line)
        attributes = told.get("user_attr", {})
        if name in attributes:
            if value is None:
                continue
            attributes[name] = value
        lines.append(json.dumps(told).encode())
    return b"\n".join(lines) + b"\n"


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "noise": lambda content: bytes(range(256)) * 8,
    "bytes in a line": lambda content: content.replace(b'"op_code"', b'"op_\xff\xfe\x00', 1),
    "another form": lambda content: b'[1, 2]\n"x"\n',
    "no verdict": lambda content: _edited(content, "accepted", None),
    "a text as verdict": lambda content: _edited(content, "accepted", "yes"),
    "a file elsewhere": lambda content: _edited(content, "artifact", "../../../secret"),
    "an absolute file": lambda content: _edited(content, "artifact", "/etc/hostname"),
    "figures of another form": lambda content: _edited(content, "figures", [1]),
    "a parameter of another search": lambda content: content.replace(b"prune.0", b"prune.7"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_journal_is_refused_by_name(name: str, whole: bytes, tmp_path: Path) -> None:
    path = tmp_path / "study.journal"
    path.write_bytes(DAMAGES[name](whole))
    with pytest.raises(InputError, match=r"study\.journal'") as caught:
        open_study(path, RECIPE, GOALS, 1)
    assert caught.value.hint == "start the search again in another folder"


@pytest.mark.parametrize("more", [b"", b'{"op_code": 4, "worker'])
def test_a_journal_that_ends_in_a_cut_line_goes_on(
    more: bytes, whole: bytes, tmp_path: Path
) -> None:
    (tmp_path / "study.journal").write_bytes(whole + more)
    assert begun(open_study(tmp_path / "study.journal", RECIPE, GOALS, 1)) == 1
