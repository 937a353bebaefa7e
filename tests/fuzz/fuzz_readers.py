"""Generators of sounds, time series, texts and records: whole ones with something changed."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
from fuzz_bytes import mutated
from fuzz_case import OUTPUT, Case
from hypothesis import strategies as st

_NETWORKS = {
    "sound": "x = keras.Input((400,))\n    y = L.Reshape((400, 1))(x)\n"
    "    y = L.GlobalAveragePooling1D()(L.Conv1D(4, 9, 4)(y))",
    "bands": "x = keras.Input((None, 8))\n    y = L.GlobalAveragePooling1D()(x)",
    "series": "x = keras.Input((5, 2))\n    y = L.Flatten()(x)",
    "text": "x = keras.Input((), dtype='string', name='text')\n"
    "    words = L.TextVectorization(9, output_sequence_length=4, vocabulary=['good', 'bad'])\n"
    "    y = L.GlobalAveragePooling1D()(L.Embedding(9, 4)(words(x)))",
    "records": "x = keras.Input((8, 8, 1), name='image')\n    y = L.Flatten()(x)",
}
# As figures of a header that says what isn't there.
_SIZES = st.sampled_from([0, 1, 2, 7, 400, 0x7FFFFFFF, 0xFFFFFFFF])


def _code(kind: str) -> bytes:
    return (
        f"import keras\nL = keras.layers\ndef f():\n    {_NETWORKS[kind]}\n"
        "    return keras.Model(x, L.Dense(3, activation='softmax')(y))\n"
    ).encode()


@st.composite
def _uses(draw: st.DrawFn, data: str, *options: str) -> tuple[str, ...]:
    verb = draw(st.sampled_from(["doctor", "doctor", "finetune", "benchmark"]))
    if verb == "benchmark":
        return ("export", "net.py:f", "-o", OUTPUT, "--format", "tflite", "--data", data, *options)
    words = (verb, "net.py:f", "--data", data, *options)
    if verb == "finetune":
        words += ("-o", f"{OUTPUT}.keras", "--epochs", "1", "--batch-size", "4")
    return words


def wav(count: int = 400, **head: int) -> bytes:
    """A 16-bit sound of one channel, with some figures of its head as given."""
    tone = (9000 * np.sin(np.arange(count) / 9)).astype("<i2").tobytes()
    told = {"form": 1, "channels": 1, "rate": 8000, "second": 16000, "block": 2, "bits": 16}
    told |= {"part": 16, "size": len(tone), "whole": 36 + len(tone)} | head
    form = struct.pack(
        "<HHIIHH",
        *(told[n] % 2**16 for n in ("form", "channels")),
        *(told[n] % 2**32 for n in ("rate", "second")),
        *(told[n] % 2**16 for n in ("block", "bits")),
    )
    return b"".join(
        (b"RIFF", struct.pack("<I", told["whole"]), b"WAVEfmt ", struct.pack("<I", told["part"]),
         form, b"data", struct.pack("<I", told["size"]), tone)
    )  # fmt: skip


def _packed(kind: str) -> bytes:
    import soundfile

    out = io.BytesIO()
    soundfile.write(out, np.sin(np.arange(400) / 9), 8000, format=kind)
    return out.getvalue()


@st.composite
def sound_folder_cases(draw: st.DrawFn) -> Case:
    """Folders of sounds: three classes with damaged, odd or boasting files among them."""
    files = {f"d/{c}/{i}.wav": wav() for c in "abc" for i in range(3)}
    for number in range(draw(st.integers(0, 3))):
        form = draw(st.sampled_from(["wav", "wav", "wav", "flac", "ogg", "mp3"]))
        if form == "wav":
            names = ("form", "channels", "rate", "second", "block", "bits", "part", "size", "whole")
            head = draw(st.dictionaries(st.sampled_from(names), _SIZES, max_size=2))
            content = wav(draw(st.sampled_from([0, 1, 400, 900])), **head)
        else:
            content = _packed(form.upper())
        if draw(st.booleans()):
            content = draw(mutated(content))
        place = draw(st.sampled_from(["a", "b", "train/a", "", "é", "\udcff"]))
        files[f"d/{place}/n{number}.{draw(st.sampled_from([form, form, 'wav', 'txt']))}"] = content
    kind = draw(st.sampled_from(["sound", "bands"]))
    options = (
        ("--features", "log-mel", "--bands", "8", "--clip-seconds", "0.05")
        if kind == "bands"
        else ()
    )
    more = draw(
        st.sampled_from(
            [
                (),
                (),
                ("--sample-rate", "16000"),
                ("--sample-rate", "1"),
                ("--sample-rate", "2147483647"),
                ("--clip-seconds", "1e9"),
                ("--clip-seconds", "1e-9"),
                ("--frame-ms", "1e9"),
                ("--hop-ms", "1e-9"),
                ("--fft-length", "1073741824"),
                ("--bands", "100000000"),
                ("--fmin", "9000"),
                ("--coefficients", "0"),
            ]
        )
    )
    words = draw(_uses("d", *options, *more))
    return Case("sounds", words, {**files, "net.py": _code(kind)})


@st.composite
def series_cases(draw: st.DrawFn) -> Case:
    """Recordings in tables: odd cells, times, groups, events and windows."""
    odd = st.sampled_from(
        ["", "nan", "inf", "-1", "1e400", "text", "é", '"', "\x00", "9" * 400, "2020-01-01", " "]
    )
    rows = [["t", "s1", "s2", "who", "what"]]
    rows += [[str(i / 10), str(i % 7), str(i % 5), f"p{i // 20}", "abc"[i // 7 % 3]]
             for i in range(80)]  # fmt: skip
    named = draw(st.booleans())
    if not named:
        rows = [row[:3] for row in rows]
    for _ in range(draw(st.integers(0, 4))):
        row = draw(st.integers(0, len(rows) - 1))
        rows[row][draw(st.integers(0, len(rows[row]) - 1))] = draw(odd)
    content = "\n".join(",".join(row) for row in rows).encode("utf-8", "surrogateescape")
    events = f"start,end,label\n0,3,a\n3,{draw(odd)},b\n{draw(odd)},7.5,c\n".encode()
    if draw(st.integers(0, 3)) == 0:
        content = draw(mutated(content))
    if draw(st.integers(0, 3)) == 0:
        events = draw(mutated(events))
    usual = ["5"] * 8
    window = draw(st.sampled_from([*usual, "1", "0", "-1", "99999999999", "80", "81"]))
    step = draw(st.sampled_from([*usual, "1", "0", "99999999999"]))
    time = draw(st.sampled_from(["t"] * 8 + ["s1", "none", ""]))
    options = ["--window", window, "--step", step, "--time-column", time]
    if named:
        group = draw(st.sampled_from(["who"] * 8 + ["t", "what", ""]))
        options += ["--target", "what", "--group-by", group]
    else:
        options += ["--events", "e.csv"]
    if draw(st.integers(0, 3)) == 0:
        options += ["--window-label", draw(st.sampled_from(["last", "mean", "majority", "x"]))]
    data = draw(st.sampled_from(["d.csv", "d.csv", "d"]))
    files = {"d.csv": content, "d/1.csv": content, "d/2.csv": content, "e.csv": events}
    return Case("series", draw(_uses(data, *options)), {**files, "net.py": _code("series")})


@st.composite
def text_cases(draw: st.DrawFn) -> Case:
    """Folders and tables of texts that may not be text."""
    good = b"good bad\nfilm"
    files = {f"d/{c}/{i}.txt": good + str(i).encode() for c in "abc" for i in range(3)}
    odd = st.one_of(
        mutated(good), st.sampled_from([b"", b"\xff\xfe\x00", b"\x00" * 9, "\ufeffé".encode()])
    )
    for number in range(draw(st.integers(0, 3))):
        place = draw(st.sampled_from(["a", "b", "train/a", "", "é", "\udcff"]))
        ending = draw(st.sampled_from(["txt", "txt", "TXT", "csv"]))
        files[f"d/{place}/n{number}.{ending}"] = draw(odd)
    table = b"text,t\n" + b"".join(b'"%s",%d\n' % (draw(odd), i % 3) for i in range(6))
    data, options = draw(st.sampled_from([("d", ()), ("d", ()), ("t.csv", ("--target", "t"))]))
    words = draw(_uses(data, *options))
    return Case("texts", words, {**files, "t.csv": table, "net.py": _code("text")})


@st.composite
def serialised_cases(draw: st.DrawFn, base: Path) -> Case:
    """TFRecord files and data sets of Arrow and Parquet, damaged, and with edited descriptions."""
    found = {str(p.relative_to(base)): p.read_bytes() for p in (base / "kept").rglob("*")
             if p.is_file()}  # fmt: skip
    name = draw(st.sampled_from(sorted(found)))
    content = draw(mutated(found[name]))
    place = name.replace("kept/", "d/", 1)
    files = {n.replace("kept/", "d/", 1): c for n, c in found.items()} | {place: content}
    data = "/".join(place.split("/")[:2])
    options = draw(st.sampled_from([(), (), (), ("--target", "label"), ("--target", "none")]))
    return Case("serialised", draw(_uses(data, *options)), {**files, "net.py": _code("records")})


KINDS: dict[str, tuple[Callable[[Path], st.SearchStrategy[Case]], int]] = {
    "sounds": (lambda base: sound_folder_cases(), 4),
    "series": (lambda base: series_cases(), 4),
    "texts": (lambda base: text_cases(), 4),
    "serialised": (serialised_cases, 4),
}
