"""A Raspberry Pi's stand-in: Debian's arm64 Python with LiteRT's arm64 wheel under qemu-user.

Its root is put together from Debian's packages once (a minute, 0.5 GB) and kept in
`EDGEPRESS_ARM_ROOT` where that is set. Nothing of it is installed or registered on this machine.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

QEMU = shutil.which("qemu-aarch64-static")
DEBOOTSTRAP = shutil.which("debootstrap", path=f"{os.environ.get('PATH', '')}:/usr/sbin")

# cpuinfo, which XNNPACK and ONNX Runtime bring, reads this file and crashes on that of an x86 host.
# qemu's -L redirects what is opened below the root.
_CPUINFO = (
    "processor\t: {i}\nBogoMIPS\t: 108.00\nFeatures\t: fp asimd evtstrm crc32 cpuid\n"
    "CPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x0\nCPU part\t: 0xd08\n"
    "CPU revision\t: 3\n\n"
)
_TAGS = ("manylinux_2_27_aarch64", "manylinux2014_aarch64", "manylinux_2_28_aarch64")
_PACKAGES = ("ai-edge-litert==2.3.0", "numpy==2.2.6", "flatbuffers", "protobuf")


def build_board(folder: Path) -> Path:
    """Make the board; give the program that plays its Python.

    Raises:
        subprocess.CalledProcessError: Packages could not be fetched.
    """
    root, site, python = folder / "root", folder / "site", folder / "python3"
    if python.exists():
        return python
    _unpack_debian(root)
    (root / "proc").mkdir(exist_ok=True)
    (root / "proc" / "cpuinfo").write_text(
        "".join(_CPUINFO.format(i=i) for i in range(4))
        + "Hardware\t: BCM2711\nRevision\t: c03112\nModel\t\t: Raspberry Pi 4 Model B\n"
    )
    platforms = [word for tag in _TAGS for word in ("--platform", tag)]
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "-q", "--target", str(site), "--no-deps",
         "--only-binary=:all:", *platforms, "--python-version", "3.11", "--implementation", "cp",
         "--abi", "cp311", "--abi", "none", *_PACKAGES],
        check=True,
        capture_output=True,
    )  # fmt: skip
    python.write_text(
        f"#!/bin/sh\nexport PYTHONPATH={site}\n"
        f'exec {QEMU} -cpu cortex-a72 -L {root} {root}/usr/bin/python3.11 "$@"\n'
    )
    python.chmod(0o755)
    return python


def _unpack_debian(root: Path) -> None:
    """Fetch Debian's arm64 packages and unpack them: no second stage, no chroot."""
    subprocess.run(
        [str(DEBOOTSTRAP), "--foreign", "--arch=arm64", "--variant=minbase",
         "--include=python3,libstdc++6", "bookworm", str(root)],
        check=True,
        capture_output=True,
    )  # fmt: skip
    for package in sorted((root / "var/cache/apt/archives").glob("*.deb")):
        subprocess.run(["dpkg-deb", "-x", str(package), str(root)], check=True)
