"""Generators of what edgepress and people write: recipes, devices files, records."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml
from fuzz_bytes import DEEP, edited, json_bytes, mutated
from fuzz_case import OUTPUT, Case
from hypothesis import strategies as st

_RECIPE: dict[str, Any] = {
    "model": "m.keras",
    "data": {"spec": "good.npz", "validation_split": 0.2},
    "finetune": {"epochs": 1, "lr": 0.01, "unfreeze": "all", "optimizer": "adam"},
    "prune": [{"structure": "weights", "sparsity": 0.5, "recover": {"epochs": 0}}],
    "export": {"formats": ["tflite"], "quantize": ["float32"]},
    "benchmark": {"devices": ["local"], "runs": 5, "max_seconds": 2, "launches": 1},
    "accept": {"max_drop": 0.5},
    "seed": 0,
}
_SEARCH = {"space": {"prune.0.sparsity": [0.3, 0.6]}, "objectives": ["metric", "bytes"]}


@st.composite
def recipe_cases(draw: st.DrawFn) -> Case:
    """Recipes that somebody edited, cut, nested or mistyped."""
    verb = draw(st.sampled_from([("compress", "r.yaml"), ("search", "r.yaml", "--trials", "1")]))
    how = draw(st.sampled_from(["edit", "edit", "edit", "bytes", "deep"]))
    if how == "deep":
        content = b"model: m.keras\ndata: " + draw(DEEP) + b"\n"
    else:
        whole = {**_RECIPE, "search": _SEARCH} if verb[0] == "search" else _RECIPE
        value = draw(edited(whole)) if how == "edit" else whole
        content = yaml.safe_dump(value, sort_keys=False).encode()
        if how == "bytes":
            content = draw(mutated(content))
    # A run takes a hundred times as long as reading its recipe: most are refused for their output.
    output = draw(st.sampled_from(["mine"] * 11 + [OUTPUT]))
    files = {"r.yaml": content, "mine/keep.txt": b"mine"}
    return Case("recipes", (*verb, "-o", output), files)


_ADDRESSES = (
    "local",
    "local:",
    "ssh://",
    "ssh://a@127.0.0.1:1",
    "ssh://127.0.0.1:99999",
    "ssh://[::1",
    "adb:",
    "adb:x?benchmark_model=no",
    "mcu:/dev/null",
    "mcu:",
    "mcu:cortex-m",
    "mcu:/no/such",
    "pi",
    "other",
    "ssh://a:b@127.0.0.1:1",
    "\udcff",
    "",
    "mcu:.",
    "adb:x?x=%",
    "local?x",
    "mcu:/dev/full?baud=x",
    "ssh://a@127.0.0.1:1?python=",
    "mcu:tflm?x=y",
    "mcu:ethos-u55-64",
)


@st.composite
def device_cases(draw: st.DrawFn) -> Case:
    """Devices files and addresses."""
    names = st.sampled_from(["pi", "other", "local", "é", "", "1"])
    known: Any = draw(st.dictionaries(names, st.sampled_from(_ADDRESSES), max_size=3))
    if draw(st.integers(0, 2)) == 0:
        known = draw(edited(known))
    content = yaml.safe_dump(known).encode()
    if draw(st.integers(0, 4)) == 0:
        content = draw(st.one_of(mutated(content), DEEP))
    named = draw(st.sampled_from([*_ADDRESSES, "pi", "pi", "other"]))
    words = draw(
        st.sampled_from(
            [
                ("devices",),
                ("devices", "list"),
                ("devices", "add", "new", named),
                ("devices", "check", named),
                ("devices", "remove", named),
                ("devices", "add", named, "local"),
                (
                    "benchmark",
                    "m.tflite",
                    "--device",
                    named,
                    "--runs",
                    "5",
                    "--device-timeout",
                    "5",
                ),
            ]
        )
    )
    writes = words[:2] in (("devices", "add"), ("devices", "remove"))
    own = ("devices.yaml",) if writes else ()
    return Case("devices", words, {"devices.yaml": content}, {}, own)


_RECORDS = (
    "run/run.json",
    "run/recipe.yaml",
    "bench.json",
    "search/search.json",
    "run/manifest.json",
)


@st.composite
def record_cases(draw: st.DrawFn, base: Path) -> Case:
    """Records of runs, benchmarks and stages that a hand or a dying disk changed."""
    stages = sorted(str(p.relative_to(base)) for p in (base / "run" / "stages").rglob("*.json"))
    names = [n for n in (*_RECORDS, *stages) if (base / n).is_file()]
    name = draw(st.sampled_from([*names, "run/run.json", "bench.json"]))
    content = (base / name).read_bytes()
    how = draw(st.sampled_from(["edit", "edit", "edit", "edit", "bytes", "deep"]))
    if how == "bytes":
        content = draw(mutated(content))
    elif how == "deep":
        content = draw(DEEP)
    elif name.endswith(".json"):
        content = json_bytes(draw(edited(json.loads(content))))
    else:
        content = yaml.safe_dump(draw(edited(yaml.safe_load(content)))).encode()
    # What is edited is the copy that commands may write: all in it is named as an output.
    moved = name.replace("run/", f"{OUTPUT}-run/", 1)
    files = {moved: content}
    if moved != name:
        rest = (p for p in (base / "run").rglob("*") if p.is_file())
        files = {
            f"{OUTPUT}-run/{p.relative_to(base / 'run')}": p.read_bytes() for p in rest
        } | files
    if name == "bench.json":
        words: tuple[str, ...] = draw(
            st.sampled_from(
                [
                    ("benchmark", "m.tflite", "--runs", "5", "--against", "bench.json"),
                    ("report", "bench.json", "-o", f"{OUTPUT}.html"),
                ]
            )
        )
    elif moved != name:
        run = f"{OUTPUT}-run"
        words = draw(
            st.sampled_from(
                [
                    *[("report", run, "-o", f"{OUTPUT}.html")] * 12,
                    *[("report", run, "--json", "-o", f"{OUTPUT}.md")] * 6,
                    *[("report", run, run, "-o", f"{OUTPUT}.html")] * 3,
                    # Takes a hundred times as long.
                    ("compress", "--resume", run),
                ]
            )
        )
    else:
        words = ("report", name, "-o", f"{OUTPUT}.html")
    return Case("records", words, files)
