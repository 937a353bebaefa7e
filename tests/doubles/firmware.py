"""A board on a pseudo-terminal: the firmware's side of the serial protocol, run by LiteRT.

Usage: python firmware.py MODEL.tflite. Prints the name of its terminal, then serves until killed.
"""

from __future__ import annotations

import hashlib
import os
import sys
import time
import tty

import numpy as np
from ai_edge_litert.interpreter import Interpreter

MICROSECONDS = 250  # what an inference takes by this board's clock


class Board:
    """The model and its state."""

    def __init__(self, path: str) -> None:
        with open(path, "rb") as file:  # noqa: PTH123
            self.digest = hashlib.sha256(file.read()).hexdigest()[:16]
        self.interpreter = Interpreter(path)
        self.interpreter.allocate_tensors()
        self.wanted, self.data, self.clock = 0, b"", 1000

    def answer(self, command: str) -> list[str]:
        """The lines of one answer, before m-ready."""
        word, *rest = command.split()
        if word == "name":
            return ["m-name-dut-[simulated board]"]
        if word == "model":
            return [f"m-model-{self.digest}"]
        if word == "memory":
            return ["m-arena-12345"]
        if word == "db":
            return self._load(*rest)
        if word == "infer":
            return self._infer(int(rest[0]), int(rest[1]))
        if word == "results":
            outputs = (
                self.interpreter.get_tensor(d["index"])
                for d in self.interpreter.get_output_details()
            )
            return ["m-results-[" + ",".join(o.tobytes().hex() for o in outputs) + "]"]
        return [f"e-[unknown command: {command}]"]

    def _load(self, *words: str) -> list[str]:
        if words[0] == "load":
            self.wanted, self.data = int(words[1]), b""
        else:
            self.data += bytes.fromhex(words[0])
        return []

    def _infer(self, runs: int, warm: int) -> list[str]:
        if len(self.data) != self.wanted:
            return ["e-[input incomplete]"]
        offset = 0
        for detail in self.interpreter.get_input_details():
            size = int(np.prod(detail["shape"])) * np.dtype(detail["dtype"]).itemsize
            part = np.frombuffer(self.data[offset : offset + size], detail["dtype"])
            self.interpreter.set_tensor(detail["index"], part.reshape(detail["shape"]))
            offset += size
        self.interpreter.invoke()
        self.clock += warm * MICROSECONDS
        begin = self.clock
        self.clock += runs * MICROSECONDS
        return [f"m-lap-us-{begin}", "m-infer-done", f"m-lap-us-{self.clock}"]


def serve(path: str, faulty: str = "") -> None:
    """Answer until killed; `faulty` is a command that gets no answer."""
    master, slave = os.openpty()
    tty.setraw(slave)
    print(os.ttyname(slave), flush=True)
    board, text = Board(path), ""
    while True:
        try:
            text += os.read(master, 4096).decode()
        except OSError:
            time.sleep(0.05)
            continue
        while "%" in text:
            command, _, text = text.partition("%")
            if faulty and command.startswith(faulty):
                continue
            lines = board.answer(command)
            ready = [] if lines and lines[0].startswith("e-") else ["m-ready"]
            os.write(master, "".join(f"{line}\r\n" for line in (*lines, *ready)).encode())


if __name__ == "__main__":
    serve(*sys.argv[1:])
