"""What goes wrong while something given is read, or while code of the user's runs, is one line."""

from __future__ import annotations

import errno
import sys
from pathlib import Path

import pytest

from edgepress.compress.errors import CheckFailed, InputError
from edgepress.compress.kernel.boundary import explained, reading, running
from edgepress.compress.kernel.files import check_output, read_json, write_text
from edgepress.compress.models.user_code import call_reference, import_file

REASONS = {
    "system": (OSError(errno.EMFILE, "Too many open files"), "Too many open files"),
    "depth": (RecursionError("maximum recursion depth exceeded"), "nested too deep"),
    "memory": (MemoryError(), "more memory than there is"),
    "text": (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid"), "isn't UTF-8"),
    "other": (ZeroDivisionError("division\nby zero"), "can't be read: division by zero"),
    "a runtime": (
        RuntimeError("[ONNXRuntimeError] : 10 : INVALID_GRAPH : no such input"),
        "can't be read: no such input",
    ),
    "a key": (KeyError("epochs"), "it lacks 'epochs'"),
    "bare": (StopIteration(), "it is damaged, or not of the form that is expected"),
}


@pytest.mark.parametrize("name", REASONS)
def test_any_error_names_what_was_read(name: str) -> None:
    error, says = REASONS[name]
    with pytest.raises(InputError) as caught, reading("table 't.csv'"):
        raise error
    assert str(caught.value).startswith("table 't.csv' can't be read: ")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert type(error).__name__ not in str(caught.value)
    assert caught.value.__cause__ is error


def test_errors_that_say_all_already_pass() -> None:
    for error in (InputError("mine"), CheckFailed("mine")):
        with pytest.raises(type(error)) as caught, reading("it"), running("it"):
            raise error
        assert caught.value is error
    with pytest.raises(KeyboardInterrupt), running("it"):
        raise KeyboardInterrupt


FAULTS = {
    "1/0": "ZeroDivisionError: division by zero",
    "raise SystemExit(0)": "SystemExit: 0",
    "raise KeyError(())": "KeyError",
    "class E(BaseException): pass\n    raise E('x')": "E: x",
    "import nothing_of_that_name": "ModuleNotFoundError",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_code_of_the_user_that_raises_is_named_by_its_line(fault: str, tmp_path: Path) -> None:
    file = tmp_path / f"code{abs(hash(fault))}.py"
    file.write_text(f"def inner():\n    {fault}\ndef f():\n    inner()\n")
    with pytest.raises(InputError) as caught:
        call_reference(f"{file}:f")
    line = 2 + fault.count("\n")
    assert str(caught.value).startswith(f"{file}:{line}: {FAULTS[fault]}")


def test_code_that_is_no_python_is_named_by_its_line(tmp_path: Path) -> None:
    file = tmp_path / "cut.py"
    file.write_text("a = 1\nb = (\n")
    with pytest.raises(InputError, match=r"cut\.py:2: SyntaxError"):
        import_file(file)


def test_code_that_a_dataset_runs_is_named_by_its_line(tmp_path: Path) -> None:
    import tensorflow as tf

    file = tmp_path / "drawn.py"
    file.write_text("def rows():\n    yield 1\n    raise ValueError('no\\nmore')\n")
    rows = tf.data.Dataset.from_generator(
        import_file(file).rows, output_signature=tf.TensorSpec((), tf.int32)
    )
    with pytest.raises(tf.errors.OpError) as caught:
        list(rows)
    told = explained(caught.value)
    assert str(told) == f"{file}:3: ValueError: no more"
    sys.modules.pop("edgepress_user_drawn")
    assert explained(caught.value) is None


def test_an_error_of_edgepress_itself_is_not_laid_on_the_user() -> None:
    with pytest.raises(ValueError, match="ours") as caught:
        raise ValueError("ours")
    assert explained(caught.value) is None


@pytest.mark.parametrize(
    "text", ["[" * 20_000, '{"a": ' * 20_000, "9" * 5_000, "[1, " + "9" * 5_000 + "]", "\xff"]
)
def test_json_of_any_depth_and_length_is_refused_in_one_line(text: str, tmp_path: Path) -> None:
    file = tmp_path / "deep.json"
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError) as caught:
        read_json(file)
    assert str(caught.value).startswith(f"'{file}' ")
    assert len(str(caught.value)) < 400 + len(str(file))


@pytest.mark.parametrize("name", ["a" * 240, "é" * 120, "a/" * 2_000 + "b", "a\0b"])
def test_a_name_that_no_file_can_have_is_refused_before_any_work(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="name"):
        check_output(tmp_path / name)
    check_output(tmp_path / ("a" * 200))
    assert list(tmp_path.iterdir()) == []


def test_a_device_is_no_output_that_may_be_replaced() -> None:
    with pytest.raises(InputError, match="a device, a pipe or a socket"):
        check_output("/dev/null", force=True)


def test_a_place_that_takes_no_files_is_refused_before_any_work() -> None:
    with pytest.raises(InputError, match="can't be written"):
        check_output("/proc/out.json")


def test_a_text_may_name_a_file_whose_name_is_no_text(tmp_path: Path) -> None:
    write_text(tmp_path / "out.txt", "model \udcff.keras")
    assert (tmp_path / "out.txt").read_text("utf-8") == "model \\udcff.keras"
