"""Numbers as people read them, whatever a record holds."""

from __future__ import annotations

import pytest

from edgepress.benchmarks import number_format


@pytest.mark.parametrize("name", ["bytes_text", "count_text", "seconds_text", "significant"])
@pytest.mark.parametrize("value", [0.0, -0.0, 5e-324, -1e300, float("inf"), float("nan")])
def test_every_number_has_a_text(name: str, value: float) -> None:
    assert getattr(number_format, name)(value).strip()
