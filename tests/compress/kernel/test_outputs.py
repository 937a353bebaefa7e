"""Outputs are whole or absent, and nothing that somebody else made is replaced by one."""

from __future__ import annotations

import errno
import gzip
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgepress.compress.errors import InputError
from edgepress.compress.kernel.boundary import may_name_files
from edgepress.compress.kernel.files import (
    adopt,
    atomic_output,
    check_distinct,
    check_output,
    check_rewritten,
    content_key,
    gzip_size,
    read_json,
    sweep,
    write_json,
)
from edgepress.compress.kernel.locks import locked
from edgepress.compress.kernel.manifest import first_foreign

NAMES = st.lists(
    st.sampled_from(["a", "b.txt", "sub/c", "sub/deep/d.bin", "e f"]), unique=True, min_size=1
)


def write(folder: Path, names: list[str], text: str = "ours") -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def result(
    target: Path,
    names: list[str],
    text: str = "ours",
    force: bool = False,
    meanwhile: Callable[[], None] = lambda: None,
) -> None:
    with atomic_output(target, force, folder=True) as folder:
        folder.mkdir()
        write(folder, names, text)
        meanwhile()


def contents(folder: Path) -> dict[str, str]:
    files = (p for p in folder.rglob("*") if p.is_file() and p.name != "manifest.json")
    return {p.relative_to(folder).as_posix(): p.read_text() for p in files}


@given(first=NAMES, second=NAMES)
def test_a_folder_of_ours_is_replaced_whole(
    tmp_path_factory: pytest.TempPathFactory, first: list[str], second: list[str]
) -> None:
    target = tmp_path_factory.mktemp("outputs") / "out"
    result(target, first)
    with pytest.raises(InputError, match="--force"):
        check_output(target, folder=True)
    result(target, second, "again", force=True)
    assert contents(target) == dict.fromkeys(second, "again")
    assert [p.name for p in target.parent.iterdir()] == ["out"]


@given(names=NAMES, foreign=st.sampled_from(["mine", "sub/mine", "new/mine", "manifest.json.old"]))
def test_a_folder_with_somebody_elses_file_stays(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], foreign: str
) -> None:
    target = tmp_path_factory.mktemp("outputs") / "out"
    result(target, names)
    write(target, [foreign], "mine")
    for force in (False, True):
        with pytest.raises(InputError, match=r"mine|old") as caught:
            check_output(target, force, folder=True)
        assert "--force" not in str(caught.value)
    assert contents(target)[foreign] == "mine"


def test_an_empty_folder_stays_unless_it_is_of_the_result(tmp_path: Path) -> None:
    target = tmp_path / "out"
    with atomic_output(target, folder=True) as folder:
        write(folder, ["a", "sub/b"])
        (folder / "assets").mkdir()
    (target / "sub" / "b").unlink()
    check_output(target, force=True, folder=True)
    for name in ("mine", "sub/mine", "mine/deep"):
        (target / name).mkdir(parents=True)
        with pytest.raises(InputError, match=name):
            result(target, ["a"], force=True)
        (target / name).rmdir()
        shutil.rmtree(target / "mine", ignore_errors=True)
    result(target, ["a"], force=True)
    assert [p.name for p in target.iterdir() if p.is_dir()] == []


def test_a_result_that_was_edited_stays(tmp_path: Path) -> None:
    result(tmp_path / "out", ["a"])
    (tmp_path / "out" / "a").write_text("my own words")
    with pytest.raises(InputError, match="was changed since"):
        result(tmp_path / "out", ["a"], force=True)


def test_folders_inside_may_bring_their_own_list(tmp_path: Path) -> None:
    with atomic_output(tmp_path / "out", folder=True) as folder:
        folder.mkdir()
        result(folder / "inner", ["a"])
        write(folder, ["b"])
    check_output(tmp_path / "out", force=True, folder=True)
    write(tmp_path / "out" / "inner", ["mine"])
    with pytest.raises(InputError, match=r"inner/mine"):
        check_output(tmp_path / "out", force=True, folder=True)


@pytest.mark.parametrize("folder", [False, True])
def test_what_is_of_another_kind_or_a_link_stays(tmp_path: Path, folder: bool) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / ("folder" if folder else "file"))
    (tmp_path / "nowhere").symlink_to(tmp_path / "absent")
    for name in ("file" if folder else "folder", "link", "nowhere"):
        with pytest.raises(InputError, match=name):
            check_output(tmp_path / name, force=True, folder=folder)


def test_an_output_never_holds_an_input(tmp_path: Path) -> None:
    result(tmp_path / "out", ["model.keras"])
    for read in ("out/model.keras", "out", "out/model.keras:network"):
        with pytest.raises(InputError, match="the input"):
            check_output(
                tmp_path / "out", force=True, folder=True, inputs=[str(tmp_path / read), None, 3]
            )
    check_output(tmp_path / "out", force=True, folder=True, inputs=["tfds:mnist", object()])
    with pytest.raises(InputError, match="same file"):
        check_output(
            tmp_path / "out/model.keras", force=True, inputs=[tmp_path / "out/model.keras"]
        )


def test_what_is_put_into_a_result_while_it_is_rebuilt_is_kept(tmp_path: Path) -> None:
    result(tmp_path / "out", ["a"])
    out = tmp_path / "out"
    with pytest.warns(UserWarning, match="keeps what was put"):
        result(out, ["a"], "again", True, lambda: write(out, ["late"], "mine"))
    (kept,) = tmp_path.glob("out.before-*")
    assert re.fullmatch(r"out\.before-[0-9a-f]{8}", kept.name)
    assert contents(kept) == {"a": "ours", "late": "mine"}


@pytest.mark.parametrize("checked", [False, True])
@pytest.mark.parametrize("folder", [False, True])
def test_what_takes_the_name_of_a_result_while_it_is_made_stays(
    tmp_path: Path, folder: bool, checked: bool
) -> None:
    target = tmp_path / "out.x"

    def make() -> None:
        if checked:
            check_output(target, folder=folder)
            take()
        with atomic_output(target, folder=folder, checked=checked) as temporary:
            write(temporary, ["a"]) if folder else temporary.write_text("ours")
            if not checked:
                take()

    def take() -> None:
        write(target, ["mine"], "mine") if folder else target.write_text("mine")

    with pytest.raises(InputError, match="something else meanwhile; this is in") as caught:
        make()
    kept = next(p for p in tmp_path.iterdir() if p != target)
    assert str(kept) in str(caught.value)
    if folder:
        assert (contents(target), contents(kept)) == ({"mine": "mine"}, {"a": "ours"})
    else:
        assert (target.read_text(), kept.read_text()) == ("mine", "ours")


def test_what_a_disk_refuses_is_named(tmp_path: Path) -> None:
    def fill() -> None:
        with atomic_output(tmp_path / "out.x"):
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match=r"No space left on device: .*out\.x"):
        fill()


def test_what_is_mounted_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "m.keras").write_text("mine")
    parts = [SimpleNamespace(mountpoint=str(tmp_path / name)) for name in ("out", "m.keras")]
    monkeypatch.setattr(psutil, "disk_partitions", lambda all: parts)
    for name, folder in (("out", True), ("m.keras", False)):
        with pytest.raises(InputError, match="something is mounted there"):
            check_output(tmp_path / name, force=True, folder=folder)


def test_a_failure_leaves_the_former_result(tmp_path: Path) -> None:
    result(tmp_path / "out", ["a"])

    def fail() -> None:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        result(tmp_path / "out", ["b"], "again", True, fail)
    assert contents(tmp_path / "out") == {"a": "ours"}
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_a_lock_is_held_by_one_process_and_freed_with_it(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path\n"
        "from edgepress.compress.kernel.locks import locked\n"
        "with locked(Path(sys.argv[1]), 'out'): print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, tmp_path], stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with (
            pytest.raises(InputError, match="another process is writing 'out'"),
            locked(tmp_path, "out"),
        ):
            pass
        other.kill()
    with locked(tmp_path, "out"):
        assert not [*tmp_path.iterdir()]


def test_what_a_killed_process_left_is_swept_and_nothing_else(tmp_path: Path) -> None:
    mark = ".edgepress-0123abcd"
    left = [f".m{mark}.keras"]
    others = [
        f".m{mark}.json",
        f".n{mark}.keras",
        f"m{mark}.keras",
        ".m.edgepress-012.keras",
        "m.keras",
    ]
    write(tmp_path, [*left, *others, f".out{mark}/inside"])
    (tmp_path / "link").mkdir()
    (tmp_path / f".out{mark[:-1]}e").symlink_to(tmp_path / "link")
    sweep(tmp_path / "m.keras")
    assert sorted(p.name for p in tmp_path.iterdir() if p.is_file()) == sorted(others)
    sweep(tmp_path / "out")
    assert [p.name for p in tmp_path.iterdir() if p.is_dir()] == ["link"]
    sweep(tmp_path / "nowhere" / "m.keras")


_KILLED_WHILE_WRITING = """
import os, signal, sys
from edgepress.compress.kernel.files import atomic_output
with atomic_output(sys.argv[1], force=True) as path:
    path.write_text("half")
    print(path.name, flush=True)
    if sys.argv[2] == "dies":
        os.kill(os.getpid(), signal.SIGKILL)
    sys.stdin.readline()
"""


def test_the_next_call_removes_what_a_dead_process_left_and_nothing_of_a_live_one(
    tmp_path: Path,
) -> None:
    target = tmp_path / "out.keras"

    def writer(how: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", _KILLED_WHILE_WRITING, str(target), how],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    dead = writer("dies")
    left, _ = dead.communicate()
    foreign = ".out.edgepress-0123abcd-000000-1.keras"  # of a machine that counts by itself
    (tmp_path / foreign).write_text("half")
    assert (tmp_path / left.strip()).is_file()
    with writer("waits") as live:
        assert live.stdout is not None
        under_way = live.stdout.readline().strip()
        with atomic_output(target) as path:
            path.write_text("whole")
        assert {p.name for p in tmp_path.iterdir()} == {target.name, under_way, foreign}
        live.communicate("\n")
        assert live.returncode == 0
    assert target.read_text() == "half"


def test_a_name_is_as_long_as_its_temporary_neighbours_allow(tmp_path: Path) -> None:
    check_output(tmp_path / ("é" * 102 + "a"))
    with pytest.raises(InputError, match="at most 205 bytes for each part"):
        check_output(tmp_path / ("é" * 103))


def test_a_way_back_from_a_folder_that_is_not_there_leads_nowhere(tmp_path: Path) -> None:
    write(tmp_path, ["mine", "sub/x"])
    for way in ("new/../mine", "mine/../mine", "sub/new/../../mine"):
        for force in (False, True):
            with pytest.raises(InputError, match="leads nowhere"):
                check_output(tmp_path / way, force, inputs=[tmp_path / "mine"])
    with pytest.raises(InputError, match="same file"):
        check_output(tmp_path / "sub" / ".." / "mine", force=True, inputs=[tmp_path / "mine"])


def test_what_may_name_a_file_is_found_at_every_depth() -> None:
    asked = {
        "a": ["x/y", "float32", {"b": "out=own.py:f"}],
        "c": (Path("bare"), 3, None),
        "output": "not/read",
        "log_csv": "not.csv",
    }
    assert {*may_name_files(asked)} == {"x/y", "out=own.py:f", "own.py:f", "bare"}


def test_two_names_of_one_file_are_one_output(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    same = tmp_path / "sub" / ".." / "out"
    for other in (tmp_path / "out", tmp_path / "out" / "inside"):
        with pytest.raises(InputError, match="would replace each other"):
            check_distinct(same, other)
    check_distinct(same, tmp_path / "out2", None)


@pytest.mark.parametrize("writer", ["", "another", "zzz", None])
def test_a_list_of_another_program_makes_nothing_ours(writer: str | None, tmp_path: Path) -> None:
    target = tmp_path / "out"
    result(target, ["a"])
    told = json.loads((target / "manifest.json").read_text())
    assert first_foreign(target) is None
    (target / "manifest.json").write_text(json.dumps({**told, "written_by": writer}))
    assert first_foreign(target) is not None


def test_files_of_a_folder_without_a_list_are_adopted_by_name(tmp_path: Path) -> None:
    write(tmp_path, ["a", "b.txt", "sub/c"])
    adopt(tmp_path, ["a", "sub/c", "absent"])
    foreign = first_foreign(tmp_path)
    assert foreign is not None
    assert foreign.path == tmp_path / "b.txt"
    (tmp_path / "b.txt").unlink()
    assert first_foreign(tmp_path) is None
    write(tmp_path, ["b.txt"])
    adopt(tmp_path, ["b.txt"])  # it has a list now, which stays
    assert first_foreign(tmp_path) is not None
    adopt(tmp_path / "none", ["a"])
    assert not (tmp_path / "none").exists()


def test_a_list_that_is_a_link_is_none(tmp_path: Path) -> None:
    target = tmp_path / "out"
    result(target, ["a"])
    (target / "manifest.json").rename(tmp_path / "elsewhere.json")
    (target / "manifest.json").symlink_to(tmp_path / "elsewhere.json")
    assert first_foreign(target) is not None


def test_what_is_rewritten_at_each_call_is_known_by_how_it_begins(tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    check_rewritten(log, "log", b"epoch,")
    for content, fits in (("epoch,loss\n", True), ("", True), ("mine\n", False)):
        log.write_text(content)
        if fits:
            check_rewritten(log, "log", b"epoch,")
        else:
            with pytest.raises(InputError, match="is no log"):
                check_rewritten(log, "log", b"epoch,")


def test_sizes_are_those_of_the_named_levels_and_keys_are_short(tmp_path: Path) -> None:
    content = bytes(range(256)) * 40 + b"edge" * 3000 + np.random.default_rng(0).bytes(2000)
    (tmp_path / "m").write_bytes(content)
    assert gzip_size(tmp_path / "m") == len(gzip.compress(content, 9, mtime=0))
    write_json(tmp_path / "j", {"a": [1, None]})
    assert read_json(tmp_path / "j") == {"a": [1, None]}
    assert re.fullmatch("[0-9a-f]{16}", content_key("a", 1))
