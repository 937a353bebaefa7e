"""Times as people write them."""

from __future__ import annotations

import pytest

from edgepress.compress.specs.amounts import parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("20m", 1200), ("1h30m", 5400), ("90s", 90), ("90", 90), (45, 45), ("0.5h", 1800),
     ("1 h 5 min", 3900)],
)  # fmt: skip
def test_times_have_units(text: object, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "0", "-5m", "soon", "5d", "1m2h", "nan", "1..2s"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="20m"):
        parse_duration(text)
