"""Errors for people: callers of the library catch a ValueError, the command line prints a line."""

from __future__ import annotations

import subprocess
import sys

import pytest
from click.testing import CliRunner

from edgepress.compress.errors import (
    CheckFailed,
    DeviceError,
    EdgepressError,
    InputError,
    Stopped,
)
from edgepress.deploy.cli.main import cli


def test_bad_input_is_a_value_error_whose_text_has_the_way_out() -> None:
    with pytest.raises(ValueError, match="no layer 'x'; there is 'y'"):
        raise InputError("no layer 'x'.", "there is 'y'")


def test_errors_keep_message_hint_and_code_over_a_pipe() -> None:
    import pickle

    for kind, code in ((InputError, 2), (CheckFailed, 1), (DeviceError, 3), (Stopped, 130)):
        again = pickle.loads(pickle.dumps(kind("what", "how")))
        assert (again.message, again.hint, again.exit_code) == ("what", "how", code)
        assert isinstance(again, EdgepressError)


def test_the_command_line_ends_with_the_errors_code() -> None:
    done = CliRunner().invoke(cli, ["inspect", "no-such-model.keras"])
    assert done.exit_code == 2
    assert "no-such-model.keras" in done.output
    assert "Traceback" not in done.output


def test_the_library_errors_need_no_command_line() -> None:
    code = "import sys, edgepress.compress.errors; sys.exit('click' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
