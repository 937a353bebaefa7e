"""Becomes another program that ends with the process which started it.

`python -I -S launcher.py PARENT KIND COMMAND…`, by its path: it is the program's first moment, so
it imports as little as it can. The parent's death is Linux's `PR_SET_PDEATHSIG` (prctl(2)), which
stays through `exec`; elsewhere a child ends where its standard input does.
"""

from __future__ import annotations

import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Ask for the parent's death signal, then become the command."""
    parent, kind, command = int(sys.argv[1]), sys.argv[2], sys.argv[3:]
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != parent:  # it died before the call
            os._exit(1)
    if kind == "helper":  # its parent is asked to stop, and then ends it
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
