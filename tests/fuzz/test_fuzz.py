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
import fuzz_readers
import fuzz_sound
import pytest
from fuzz_case import Case, Fuzzer
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

Strategy = st.SearchStrategy[Case]
# Strategies and their shares of the cases: what trains or converts takes a hundred times as long as
# what is refused.
KINDS: dict[str, tuple[Callable[[Path], Strategy], int]] = {
    "devices": (lambda base: fuzz_files.device_cases(), 20),
    "recipes": (lambda base: fuzz_files.recipe_cases(), 20),
    "records": (fuzz_files.record_cases, 20),
    "options": (lambda base: fuzz_options.option_cases(), 20),
    "outputs": (lambda base: fuzz_options.output_cases(), 20),
    "models": (fuzz_models.model_cases, 20),
    "networks": (lambda base: fuzz_models.network_cases(), 10),
    "code": (lambda base: fuzz_code.code_cases(), 8),
    "permissions": (lambda base: fuzz_sound.permission_cases(), 6),
    "tables": (lambda base: fuzz_data.table_cases(), 4),
    "arrays": (lambda base: fuzz_data.array_cases(), 4),
    "images": (lambda base: fuzz_data.image_cases(), 4),
    **fuzz_readers.KINDS,
    "checkpoints": (fuzz_sound.checkpoint_cases, 4),
    "fits": (fuzz_sound.fit_cases, 2),
    "searches": (fuzz_sound.search_cases, 2),
    "sound": (lambda base: fuzz_sound.sound_cases(), 1),
    "clock": (lambda base: fuzz_sound.clock_cases(), 1),
}


@pytest.fixture(scope="module")
def fuzzer(tmp_path_factory: pytest.TempPathFactory, base: Path, request: Any) -> Iterator[Fuzzer]:
    """The server that runs cases; prints the table of all kinds when it ends."""
    lanes = request.config.getoption("--lanes")
    with Fuzzer(tmp_path_factory.mktemp("cases"), base, lanes) as running:
        yield running
    print(f"\n{running.show()}")


@pytest.mark.slow
@pytest.mark.fuzz
@pytest.mark.parametrize("kind", KINDS)
def test_every_case_ends_well(kind: str, base: Path, fuzzer: Fuzzer, request: Any) -> None:
    strategy, share = KINDS[kind]
    shares = sum(share for _, share in KINDS.values())
    cases = -(-request.config.getoption("--cases") * share // shares)
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
    @given(strategy(base))
    def run(case: Case) -> None:
        fuzzer.start(case)

    run()
    fuzzer.finish()
    assert fuzzer.failures[failed:] == []
