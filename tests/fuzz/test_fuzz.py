"""Nothing that a person gives ends in a traceback, a hang, or a loss of files.

scripts/test -m fuzz -s                    some cases of each kind
scripts/test -m fuzz -s --cases 10000 --fuzz-seed 7
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fuzz_code
import fuzz_data
import fuzz_files
import fuzz_models
import fuzz_options
import fuzz_sound
import pytest
from fuzz_case import Case, Fuzzer
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

KINDS: dict[str, Callable[[Path], st.SearchStrategy[Case]]] = {
    "arrays": lambda base: fuzz_data.array_cases(),
    "images": lambda base: fuzz_data.image_cases(),
    "tables": lambda base: fuzz_data.table_cases(),
    "code": lambda base: fuzz_code.code_cases(),
    "recipes": lambda base: fuzz_files.recipe_cases(),
    "devices": lambda base: fuzz_files.device_cases(),
    "records": fuzz_files.record_cases,
    "models": fuzz_models.model_cases,
    "networks": lambda base: fuzz_models.network_cases(),
    "options": lambda base: fuzz_options.option_cases(),
    "outputs": lambda base: fuzz_options.output_cases(),
    "sound": lambda base: fuzz_sound.sound_cases(),
    "searches": fuzz_sound.search_cases,
    "permissions": lambda base: fuzz_sound.permission_cases(),
    "clock": lambda base: fuzz_sound.clock_cases(),
}


@pytest.fixture(scope="module")
def fuzzer(tmp_path_factory: pytest.TempPathFactory, base: Path) -> Iterator[Fuzzer]:
    """The server that runs cases; prints the table of all kinds when it ends."""
    with Fuzzer(tmp_path_factory.mktemp("cases"), base) as running:
        yield running
    print(f"\n{running.show()}")


@pytest.mark.slow
@pytest.mark.fuzz
@pytest.mark.parametrize("kind", KINDS)
def test_every_case_ends_well(kind: str, base: Path, fuzzer: Fuzzer, request: Any) -> None:
    cases = -(-request.config.getoption("--cases") // len(KINDS))
    failed = len(fuzzer.failures)

    @seed(request.config.getoption("--fuzz-seed"))
    @settings(
        max_examples=cases,
        database=None,
        deadline=None,
        derandomize=False,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(KINDS[kind](base))
    def run(case: Case) -> None:
        fuzzer.run(case)

    run()
    assert fuzzer.failures[failed:] == []
