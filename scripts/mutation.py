"""Change code in small ways, one at a time, and print which changes no test notices.

The changes are cosmic-ray's. Its own runner changes files in place and starts a process for each
mutant, which loads TensorFlow again; here each mutant is a fork of a process that has loaded the
libraries but nothing of edgepress, and files stay as they are. A mutant meets the tests that run
its lines, the quick ones first, and where it survives those, all tests of its part.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import difflib
import importlib
import itertools
import json
import os
import random
import resource
import signal
import sys
import tempfile
import threading
import time
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import FrameType
from typing import Any

ROOT = Path(__file__).parents[1]
EXPLAINED = ROOT / "scripts" / "mutants.toml"
LIBRARIES = ("tensorflow", "keras", "h5py", "scipy.stats", "yaml", "pydantic", "hypothesis")


@dataclass(frozen=True)
class Part:
    """Code, and the tests that should notice each change of it.

    Attributes:
        code: Files and folders.
        tests: Test files.
    """

    code: tuple[str, ...]
    tests: tuple[str, ...]


_STRUCTURE = "tests/compress/structure"
PARTS = {
    "files": Part(
        ("compress/kernel/files.py", "compress/kernel/manifest.py"),
        ("tests/compress/kernel/test_outputs.py", "tests/compress/kernel/test_boundary.py"),
    ),
    "intervals": Part(
        ("benchmarks/statistics/intervals.py",), ("tests/benchmarks/statistics/test_intervals.py",)
    ),
    "masks": Part(("compress/weights/masks",), ("tests/compress/weights/masks",)),
    "tracing": Part(
        ("compress/structure/tracing",),
        (
            f"{_STRUCTURE}/test_generated_graphs.py",
            f"{_STRUCTURE}/test_exactness.py",
            f"{_STRUCTURE}/test_pinning.py",
            f"{_STRUCTURE}/test_blocks.py",
        ),
    ),
    "surgery": Part(
        ("compress/structure/surgery",),
        (
            f"{_STRUCTURE}/test_shrinking.py",
            f"{_STRUCTURE}/test_initial_values.py",
            f"{_STRUCTURE}/test_exactness.py",
        ),
    ),
    "repair": Part(
        ("compress/structure/repair",),
        (f"{_STRUCTURE}/test_repair.py", f"{_STRUCTURE}/test_recovery_start.py"),
    ),
}


@dataclass(frozen=True)
class Mutant:
    """One file with one change.

    Attributes:
        path: The file.
        code: Its text with the change.
        was: The changed lines before, joined and without indentation.
        now: And after.
        line: Where they begin.
        end: The first line behind them.
    """

    path: Path
    code: str
    was: str
    now: str
    line: int
    end: int

    def __str__(self) -> str:
        return f"{self.path.relative_to(ROOT)}:{self.line}: {self.was}  ->  {self.now}"


def places_of(path: Path) -> Iterator[tuple[Path, str, int]]:
    """Where a file can be changed: an operator's name, and which of its positions."""
    from cosmic_ray.ast import ast_nodes, get_ast
    from cosmic_ray.plugins import get_operator, operator_names

    nodes = list(ast_nodes(get_ast(path.read_text("utf-8"))))
    for name in sorted(operator_names()):
        with contextlib.suppress(TypeError):  # some need arguments that nobody has here
            operator = get_operator(name)()
            count = sum(1 for node in nodes for _ in operator.mutation_positions(node))
            yield from ((path, name, number) for number in range(count))


def mutant_at(path: Path, name: str, number: int) -> Mutant | None:
    """The change at such a place; None where nothing of it is left when the code is run."""
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator

    text = path.read_text("utf-8")
    code = mutate_code(text, get_operator(name)(), number)
    with contextlib.suppress(SyntaxError):
        if code and _bare(code) != _bare(text):
            return _mutant(path, text, code)
    return None


def _mutant(path: Path, text: str, code: str) -> Mutant:
    before, after = text.splitlines(), code.splitlines()
    changes = difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes()
    changed = [change for change in changes if change[0] != "equal"]
    start, end, new_end = changed[0][1], changed[-1][2], changed[-1][4]
    was, now = _joined(before[start:end]), _joined(after[start:new_end])
    return Mutant(path, code, was, now, start + 1, max(end, start + 1) + 1)


def _joined(lines: Sequence[str]) -> str:
    return " ".join(line.strip() for line in lines)


class _Plain(ast.NodeTransformer):
    """Leaves out what changes nothing when it is run: annotations, and `strict` of `zip`.

    That guards what the code before it has made sure of.
    """

    def visit_keyword(self, node: ast.keyword) -> ast.AST:
        """A keyword as it is, but `strict` always one way."""
        if node.arg == "strict":
            node.value = ast.Constant(True)
        return self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        """Keep the fact that there is one, which dataclasses need."""
        node.annotation = ast.Constant("")
        return self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        """An argument without its type."""
        node.annotation = None
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        """A function without the type of what it returns."""
        node.returns = None
        return self.generic_visit(node)


def _bare(text: str) -> str:
    return ast.dump(_Plain().visit(ast.parse(text)))


class _Coverage:
    """A plugin of pytest that notes which lines each test runs, and how long it takes."""

    def __init__(self, files: Sequence[Path]) -> None:
        self._files, self._known = {str(file) for file in files}, dict[str, str]()
        self._lines = set[tuple[str, int]]()
        self.tests: list[tuple[str, float, list[tuple[str, int]]]] = []

    def pytest_runtest_protocol(self, item: Any) -> None:
        """Begin with a test."""
        self._lines, self._item, self._begun = set(), item.nodeid, time.process_time()
        threading.settrace(self._called)
        sys.settrace(self._called)

    def pytest_runtest_logfinish(self) -> None:
        """Keep what it ran."""
        sys.settrace(None)
        took = time.process_time() - self._begun
        self.tests.append((self._item, took, sorted(self._lines)))

    def _called(self, frame: FrameType, *_: Any) -> Callable[..., Any] | None:
        name = frame.f_code.co_filename
        if name not in self._known:
            self._known[name] = str(Path(name).resolve())
        return self._ran if self._known[name] in self._files else None

    def _ran(self, frame: FrameType, *_: Any) -> Callable[..., Any]:
        self._lines.add((self._known[frame.f_code.co_filename], frame.f_lineno))
        return self._ran


@dataclass(frozen=True)
class Covered:
    """Which tests run which lines.

    Attributes:
        tests: Names, seconds that each takes, and (file, line) of what it runs; quick ones first.
    """

    tests: tuple[tuple[str, float, frozenset[tuple[str, int]]], ...]

    def of(self, mutant: Mutant) -> list[str]:
        """The tests that run a mutant's statement; none where it is run on import."""
        lines = _statement(mutant)
        places = {(str(mutant.path), line) for line in lines}
        return [name for name, _, ran in self.tests if not ran.isdisjoint(places)]


def _statement(mutant: Mutant) -> range:
    """The lines of the innermost statement around a change, without the statements in it."""
    found = range(0)
    for node in ast.walk(ast.parse(mutant.path.read_text("utf-8"))):
        if isinstance(node, ast.stmt | ast.ExceptHandler) and node.end_lineno is not None:
            body = getattr(node, "body", None)
            end = body[0].lineno if body else node.end_lineno + 1
            inside = node.lineno <= mutant.line < max(end, node.lineno + 1)
            if inside and (not found or node.lineno >= found.start):
                found = range(node.lineno, max(end, node.lineno + 1))
    return found or range(mutant.line, mutant.end)


def coverage(part: Part) -> Covered | None:
    """What each test of a part runs; None where they fail without any change."""
    with tempfile.TemporaryDirectory() as folder:
        note = Path(folder) / "lines.json"

        def run() -> int:
            seen = _Coverage([file.resolve() for file in _files(part)])
            code = _pytest(part.tests, [seen])
            note.write_text(json.dumps(seen.tests))
            return code

        end, _ = _forked(run)
        if end != "survived":
            return None
        told = json.loads(note.read_text())
    tests = ((name, took, frozenset((f, n) for f, n in lines)) for name, took, lines in told)
    return Covered(tuple(sorted(tests, key=lambda test: test[1])))


def load_libraries() -> None:
    """Import what takes seconds and is not mutated; no operation is run, so that forks work."""
    os.environ.update(CUDA_VISIBLE_DEVICES="", TF_CPP_MIN_LOG_LEVEL="3", MPLBACKEND="Agg")
    for name in LIBRARIES:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


def _become(tests: Sequence[str], mutant: Mutant | None, seconds: float) -> int:
    """In a fork: run tests with one file as the mutant has it."""
    if mutant is not None:
        plain = SourceFileLoader.get_code

        def get_code(self: SourceFileLoader, fullname: str) -> Any:
            if Path(self.path).resolve() != mutant.path:
                return plain(self, fullname)
            return compile(mutant.code, self.path, "exec", dont_inherit=True)

        SourceFileLoader.get_code = get_code  # type: ignore[method-assign]
    limit = max(1, int(seconds))
    resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 1))
    return _pytest(tests, [])


def _pytest(tests: Sequence[str], plugins: list[Any]) -> int:
    import pytest

    quiet = ("-x", "-q", "-p", "no:cacheprovider", "--no-header", "--tb=no")
    return int(pytest.main([*quiet, *tests], plugins=plugins))


def outcome(tests: Sequence[str], mutant: Mutant | None, seconds: float) -> tuple[str, float]:
    """How tests end, and what they take of the processor.

    Args:
        tests: Test files, or names of tests.
        mutant: What is changed; None for nothing.
        seconds: Processor time that they may take.
    """
    return _forked(lambda: _become(tests, mutant, seconds))


def _forked(work: Callable[[], int]) -> tuple[str, float]:
    """How a fork ends that runs tests, and what it takes of the processor."""
    pid = os.fork()
    if pid == 0:
        code = 70
        try:
            os.setsid()
            sink = os.open(os.devnull, os.O_RDWR)
            for handle in range(3):
                os.dup2(sink, handle)
            code = work()
        finally:
            os._exit(code)
    _, status, used = os.wait4(pid, 0)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    spent = used.ru_utime + used.ru_stime
    if os.WIFSIGNALED(status):
        return "killed by time or a crash", spent
    return "survived" if os.WEXITSTATUS(status) == 0 else "killed", spent


def explained() -> dict[tuple[str, str, str], str]:
    """Mutants that no test needs to notice, with the reason."""
    known = tomllib.loads(EXPLAINED.read_text("utf-8"))["mutant"] if EXPLAINED.exists() else []
    return {(m["file"], m["was"], m["now"]): m["why"] for m in known}


def _files(part: Part) -> list[Path]:
    places = [ROOT / name for name in part.code]
    return [f for place in places for f in (sorted(place.glob("*.py")) or [place])]


def examine(name: str, sample: int, seed: int) -> bool:
    """Try mutants of a part and print those that survive; gives whether all are accounted for."""
    part, known = PARTS[name], explained()
    places = [place for path in _files(part) for place in places_of(path)]
    random.Random(seed).shuffle(places)
    made = filter(None, (mutant_at(*place) for place in places))
    drawn = list(itertools.islice(made, sample or None))
    covered = coverage(part)
    if covered is None:
        print(f"{name}: its tests fail without any change")
        return False
    counts, survivors, begun = Counter[str](), list[Mutant](), time.monotonic()
    for mutant in drawn:
        end = _end(mutant, covered)
        place = (str(mutant.path.relative_to(ROOT)), mutant.was, mutant.now)
        end = "explained" if end == "survived" and place in known else end
        counts[end] += 1
        if end == "survived":
            survivors.append(mutant)
            print(f"  {mutant}", flush=True)
    told = ", ".join(f"{number} {end}" for end, number in counts.most_common())
    took = time.monotonic() - begun
    print(
        f"{name}: {len(drawn)} mutants of {len(places)} places, seed {seed}: {told} ({took:.0f} s)",
        flush=True,
    )
    return not survivors


def _end(mutant: Mutant, covered: Covered) -> str:
    """How a mutant ends: before the tests that run it, then before all."""
    for tests in (covered.of(mutant), [name for name, _, _ in covered.tests]):
        seconds = sum(took for name, took, _ in covered.tests if name in tests)
        # What a test takes was measured while its lines were noted, which slows it down.
        end = outcome(tests, mutant, 30 + 2 * seconds)[0] if tests else "survived"
        if end != "survived":
            return end
    return "survived"


def main() -> None:
    """Examine the parts that are named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], default=[])
    parser.add_argument("--sample", type=int, default=40, help="mutants of each part; 0 for all")
    parser.add_argument("--seed", type=int, default=0, help="draws them")
    asked = parser.parse_args()
    os.chdir(ROOT)
    load_libraries()
    results = [examine(name, asked.sample, asked.seed) for name in asked.parts or PARTS]
    sys.exit(not all(results))


if __name__ == "__main__":
    main()
