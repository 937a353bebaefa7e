"""The schema that editors complete recipes by accepts what `compress` reads, and refuses typos."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from click.testing import CliRunner

from edgepress.compress.specs.descriptions import field_helps
from edgepress.deploy.cli.main import cli
from edgepress.deploy.recipe import BenchmarkSpec, ExportSpec, Recipe, write_recipe

README = Path(__file__).parents[3] / "README.md"


def printed(*words: str) -> dict[str, Any]:
    done = CliRunner().invoke(cli, ["schema", *words], catch_exceptions=False)
    assert done.exit_code == 0
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def problems(recipe: Any, *words: str) -> list[str]:
    schema = printed(*words)
    jsonschema.Draft202012Validator.check_schema(schema)
    return [e.message for e in jsonschema.Draft202012Validator(schema).iter_errors(recipe)]


def test_it_imports_no_framework() -> None:
    script = (
        "import sys\n"
        "from edgepress.deploy.cli.main import cli\n"
        "for more in ([], ['--search']):\n"
        "    cli.main(['schema', *more], standalone_mode=False)\n"
        "heavy = {'tensorflow', 'keras', 'onnx', 'numpy', 'optuna'}\n"
        "sys.exit(' '.join(sorted(heavy & sys.modules.keys())) or 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_readme_s_recipe_fits() -> None:
    (recipe,) = re.findall(r"```yaml\n(model: .*?)```", README.read_text("utf-8"), re.S)
    assert problems(yaml.safe_load(recipe)) == []


@pytest.mark.parametrize(
    "part",
    [
        {"data": {"spec": "d.npz", "scale": "1/255", "mean": 0.5, "std": "1,2", "resize": "8x8"}},
        {"finetune": {"unfreeze": "top:2", "lr": "auto", "class_weights": {"cat": 2.5}}},
        {"finetune": {"lr_points": "5=1e-3,10=1e-4"}},
        {"prune": {"sparsity": 0.5}},
        {"prune": [{"structure": "channels", "target_latency": "0.8ms", "device": "local"}]},
        {"export": {"formats": "tflite,c", "graph_batch": 4, "shapes": {"image": "24x36"}}},
        {"benchmark": {"threads": "1,2", "batch": 8, "cpus": "0,2-3", "precision": "1%"}},
    ],
    ids=lambda part: next(iter(part)),
)
def test_what_is_read_fits_as_it_is_written_and_as_a_run_writes_it(
    part: dict[str, Any], tmp_path: Path
) -> None:
    recipe = {"model": "m.keras", "data": "d.npz", **part}
    assert problems(recipe) == []
    write_recipe(Recipe.model_validate(recipe), tmp_path / "recipe.yaml")
    assert problems(yaml.safe_load((tmp_path / "recipe.yaml").read_text())) == []


@pytest.mark.parametrize(
    ("part", "word"),
    [
        ({"export": {"format": "tflite"}}, "format"),
        ({"export": {"opset": 12}}, "12"),
        ({"benchmark": {"runs": 0}}, "0"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_what_is_refused_does_not_fit(part: dict[str, Any], word: str) -> None:
    recipe = {"model": "m.keras", "data": "d.npz", **part}
    assert any(word in problem for problem in problems(recipe))


def test_every_field_is_explained() -> None:
    found = printed()["$defs"]
    for kind in (ExportSpec, BenchmarkSpec):
        told = {n: p["description"] for n, p in found[kind.__name__]["properties"].items()}
        assert told == field_helps(kind)
    assert "Attributes" not in json.dumps(found)


def test_a_search_has_its_part_and_a_file_is_written(tmp_path: Path) -> None:
    search = {"space": {"prune.0.sparsity": {"low": 0.3, "high": 0.8}}, "objectives": "metric"}
    recipe = {"model": "m.keras", "data": "d.npz", "search": search}
    assert problems(recipe) != []
    assert problems(recipe, "--search") == []
    file = tmp_path / "recipe.schema.json"
    for words, code in (([], 0), ([], 2), (["--force"], 0)):
        done = CliRunner().invoke(cli, ["schema", "-o", str(file), *words])
        assert (done.exit_code, done.stdout) == (code, "")
    assert json.loads(file.read_text()) == printed()
