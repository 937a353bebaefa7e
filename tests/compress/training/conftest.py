"""Tiny networks and data for the tests of fine-tuning."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def networks() -> ModuleType:
    """The module beside this one, which child processes run too."""
    spec = importlib.util.spec_from_file_location(
        "networks", Path(__file__).with_name("networks.py")
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
