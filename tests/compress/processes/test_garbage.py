"""The search for garbage that is put off."""

from __future__ import annotations

import gc

import pytest

from edgepress.compress.processes.garbage import unsearched


@pytest.mark.parametrize("searching", [True, False])
def test_it_goes_on_as_before(searching: bool) -> None:
    (gc.enable if searching else gc.disable)()
    try:
        with unsearched(), unsearched():
            assert not gc.isenabled()
        assert gc.isenabled() is searching
        with pytest.raises(KeyError), unsearched():
            raise KeyError
        assert gc.isenabled() is searching
    finally:
        gc.enable()
