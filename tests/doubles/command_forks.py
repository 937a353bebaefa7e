"""A process that has loaded the command line alone, and that forks for each call of it.

What a command loads itself it loads in its fork, as it would in a process of its own; what every
command begins with is loaded once. Run as a script it serves: a request is a line of JSON on
standard input (`words`, `folder`, `environment`, `refused`; the files `out`, `err`, `loaded`), and
is answered by the fork's process id; the next line asks for its exit code.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HEAVY = {"tensorflow", "keras", "tf_keras", "onnx", "onnxruntime", "matplotlib"}


@dataclass(frozen=True)
class Call:
    """What a call of the command line came to.

    Attributes:
        returncode: Its exit code.
        stdout: What it printed.
        stderr: What it printed there.
        loaded: What of `HEAVY` it loaded.
    """

    returncode: int
    stdout: str
    stderr: str
    loaded: tuple[str, ...]


class Forks:
    """The process, from outside.

    A context manager.
    """

    def __enter__(self) -> Forks:
        self._folder = tempfile.TemporaryDirectory()
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
        self._folder.cleanup()

    def run(
        self,
        words: Sequence[str],
        folder: Path,
        environment: Mapping[str, str] | None = None,
        refused: Sequence[str] = (),
    ) -> Call:
        """Call the command line and wait for its end.

        Args:
            words: What stands behind `edgepress`.
            folder: Where it is called.
            environment: Variables that are set besides.
            refused: Packages that can't be imported: who tries ends with 9, and says with which of
                numpy, h5py, onnx, rich and scipy loaded.
        """
        self._ask(words, folder, environment, refused, "err")
        code = self._told("")
        out, err, loaded = (
            self._file(name).read_text("utf-8") for name in ("out", "err", "loaded")
        )
        return Call(code, out, err, tuple(loaded.split()))

    def first_word(self, words: Sequence[str], folder: Path, refused: Sequence[str] = ()) -> str:
        """The first line on standard error; the command is ended then, with its children."""
        self._file("pipe").unlink(missing_ok=True)
        os.mkfifo(self._file("pipe"))
        pid = self._ask(words, folder, None, refused, "pipe")
        with self._file("pipe").open() as pipe:
            line = pipe.readline()
            os.killpg(pid, 9)
        self._told("")
        return line

    def _ask(
        self,
        words: Sequence[str],
        folder: Path,
        environment: Mapping[str, str] | None,
        refused: Sequence[str],
        err: str,
    ) -> int:
        files = {
            name: str(self._file(file))
            for name, file in (("out", "out"), ("err", err), ("loaded", "loaded"))
        }
        request = {
            "words": list(words), "folder": str(folder), "environment": dict(environment or {}),
            "refused": list(refused), **files,
        }  # fmt: skip
        return self._told(json.dumps(request))

    def _file(self, name: str) -> Path:
        return Path(self._folder.name, name)

    def _told(self, line: str) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(line, file=self._process.stdin, flush=True)
        return int(self._process.stdout.readline())


class _Refuse:
    """A finder of modules that ends the process where one of some is looked for."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        if name in self._names:
            heavy = {"numpy", "h5py", "onnx", "rich", "scipy"} & sys.modules.keys()
            print(f"FRAMEWORK after {sorted(heavy)}", file=sys.stderr, flush=True)
            raise SystemExit(9)


def _become(request: dict[str, Any]) -> int:
    """In a fork: call the command line; its exit code."""
    from edgepress.deploy.cli.main import main

    os.setsid()
    os.chdir(request["folder"])
    os.environ.update(request["environment"])
    handles = [os.open(os.devnull, os.O_RDONLY)]
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    handles += [os.open(request[name], flags, 0o600) for name in ("out", "err")]
    for number, handle in enumerate(handles):
        os.dup2(handle, number)
    if request["refused"]:
        sys.meta_path.insert(0, _Refuse(request["refused"]))  # type: ignore[arg-type]
    sys.argv = ["edgepress", *request["words"]]
    code = 70
    try:
        main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    Path(request["loaded"]).write_text(" ".join(HEAVY & sys.modules.keys()), "utf-8")
    sys.stdout.flush()
    sys.stderr.flush()
    return code


def _serve() -> None:

    while line := sys.stdin.readline():
        pid = os.fork()
        if pid == 0:
            code = 70
            try:
                code = _become(json.loads(line))
            finally:
                os._exit(code)
        print(pid, flush=True)
        sys.stdin.readline()
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


if __name__ == "__main__":
    _serve()
