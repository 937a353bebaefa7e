"""The runner in C for devices without Python, and LiteRT's library out of a wheel.

The library in `ai-edge-litert`'s wheels exports LiteRT's C API (LiteRt…), not TensorFlow Lite's
(TfLite…). The runner opens it with dlopen: building it needs neither headers nor the library.
"""

from __future__ import annotations

import shlex
import shutil
import zipfile
from pathlib import Path

from edgepress.compress.errors import DeviceError, InputError
from edgepress.compress.processes.children import run

SOURCE = Path(__file__).with_name("runner.c")
LIBRARY = "libLiteRt.so"
FLAGS = ("-std=c11", "-O2")

# Machine numbers in ELF's header, and what `uname -m` or Android's ABI calls the machine.
_MACHINES = {
    62: ("x86_64",),
    183: ("aarch64", "arm64", "arm64-v8a"),
    40: ("armv7l", "armv8l", "armv6l", "armeabi-v7a"),
    243: ("riscv64",),
}
# Where the library for a machine is to be had: wheels for Linux, archives for Android's ABIs.
_WHERE = {
    **{
        machine: f"pip download --no-deps --platform manylinux_2_27_{machine} ai-edge-litert"
        for machine in ("x86_64", "aarch64")
    },
    **dict.fromkeys(
        ("arm64-v8a", "armeabi-v7a"), "give LiteRT's Android archive (.aar), which holds it"
    ),
}


def find_library(path: Path, folder: Path, machine: str) -> Path:
    """LiteRT's library for a machine: the file itself, or the one in a wheel or an Android archive.

    Args:
        path: `libLiteRt.so`, a wheel of `ai-edge-litert`, or an `.aar`.
        folder: Where one out of an archive is put.
        machine: As `uname -m` or Android's ABI calls it.

    Raises:
        InputError: There is none, or it is for another machine.
    """
    if not path.is_file():
        raise InputError(f"'{path}' (LiteRT's library) does not exist")
    library = path if path.suffix == ".so" else _from_archive(path, folder, machine)
    with library.open("rb") as file:
        head = file.read(20)
    if head[:4] != b"\x7fELF":
        raise InputError(f"'{path}' is not a library")
    names = _MACHINES.get(int.from_bytes(head[18:20], "little"), ("another machine",))
    if machine not in names:
        raise InputError(
            f"the library in '{path.name}' is for {names[0]}, and the device is {machine}",
            _WHERE.get(machine, "give a LiteRT library that was built for it"),
        )
    return library


def _from_archive(path: Path, folder: Path, machine: str) -> Path:
    try:
        with zipfile.ZipFile(path) as archive:
            members = [n for n in archive.namelist() if n.rsplit("/", 1)[-1] == LIBRARY]
            # An Android archive holds one for each ABI: jni/arm64-v8a/libLiteRt.so.
            fitting = [n for n in members if f"/{machine}/" in n] or members
            if not fitting:
                raise InputError(f"'{path}' holds no {LIBRARY}", "give a wheel of ai-edge-litert")
            target = folder / LIBRARY
            target.write_bytes(archive.read(fitting[0]))
            return target
    except zipfile.BadZipFile:
        raise InputError(f"'{path}' is neither {LIBRARY} nor a wheel") from None


def compile_runner(compiler: str, folder: Path) -> Path:
    """Build the runner here with a compiler for the device.

    Args:
        compiler: A program, such as `aarch64-linux-gnu-gcc` or the NDK's clang.
        folder: Where it is put.

    Raises:
        InputError: There is no such compiler.
        DeviceError: It can't build the runner.
    """
    program, *more = shlex.split(compiler)
    if shutil.which(program) is None:
        raise InputError(f"there is no compiler '{program}'", "name one that builds for the device")
    target = folder / "runner"
    command = [program, *more, *FLAGS, "-o", str(target), str(SOURCE), "-ldl"]
    done = run(command)
    if done.returncode != 0:
        raise DeviceError(f"'{program}' can't build the runner: {complaint(done.stderr)}")
    return target


def complaint(said: str) -> str:
    """The first error of a compiler."""
    return next((line for line in said.splitlines() if "error" in line), "no word")
