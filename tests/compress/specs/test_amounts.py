"""Sizes, counts, shares and times as people write them where something may stay."""

from __future__ import annotations

import pytest

from edgepress.compress.errors import InputError
from edgepress.compress.specs.amounts import parse_amount, parse_latency
from edgepress.compress.specs.construction import make_spec
from edgepress.compress.specs.recipe import PruneSpec


@pytest.mark.parametrize(
    ("text", "number"),
    [("50%", 0.5), ("100 %", 1.0), ("0.25", 0.25), ("64kB", 64_000), ("64 KB", 64_000),
     ("48KiB", 49_152), ("1.5MB", 1.5e6), ("2MiB", 2**21), ("2M", 2e6), ("640B", 640),
     ("1e6", 1e6), (0.5, 0.5), (None, None)],
)  # fmt: skip
def test_sizes_and_counts_have_units_and_shares_a_per_cent_sign(
    text: object, number: object
) -> None:
    assert parse_amount(text) == number


@pytest.mark.parametrize(
    "text", ["", "much", "-5kB", "0", "150%", "0%", "1B", "0.5 B", "64 kg", "5iB", "nan", "infMB"]
)
def test_what_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="64kB"):
        parse_amount(text)


@pytest.mark.parametrize(
    ("text", "read"), [("50%", 0.5), ("2s", "2000ms"), ("20ms", "20ms"), ("800us", "0.8ms")]
)
def test_latencies_are_shares_or_times(text: str, read: object) -> None:
    assert parse_latency(text) == read


def test_targets_of_pruning_read_them() -> None:
    step = make_spec(PruneSpec, {"structure": "channels", "target_size": "64kB"})
    assert step.target_size == 64_000
    assert make_spec(PruneSpec, {"structure": "layers", "target_macs": "40%"}).target_macs == 0.4
    with pytest.raises(InputError, match="--target-arena 150%: write a share"):
        make_spec(PruneSpec, {"structure": "channels", "target_arena": "150%"})
