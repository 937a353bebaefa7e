#!/usr/bin/env bash
# hypothesis' arrays() of floats draws a few elements and fills the rest with one number, unless told otherwise.
# Seen in hypothesis 6.170.17: of arrays of 64 elements most are for the larger part one value, and more than one in
# twenty is constant. Plain lists of the same floats have no such filling.
# Why it matters: properties of kernels, quantisers and layouts (axes swapped, channels mixed, a scale by channel) hold
# for constant arrays whatever the code does; the test is green and has hardly looked.
# Instead: pass fill=strategies.nothing(), which draws each element, or draw a seed and let NumPy make the array.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile hypothesis==6.170.17 numpy==2.4.6
cd "$folder"
venv/bin/python - 2>log <<'PYTHON' || { code=$?; tail -n 3 log >&2; exit "$code"; }
import sys
import hypothesis
import numpy as np
from hypothesis import given, settings, strategies
from hypothesis.extra.numpy import arrays

print("hypothesis", hypothesis.__version__)
numbers = strategies.floats(-1, 1, width=32)

def shares(**options):
    """By array: the share of its commonest value."""
    found = []

    @settings(max_examples=300, derandomize=True, database=None, deadline=None)
    @given(arrays("float32", (8, 8), elements=numbers, **options))
    def look(array):
        found.append(np.unique(array, return_counts=True)[1].max() / array.size)

    look()
    return np.array(found)

print("expected: 64 floats between -1 and 1, seldom equal")
usual, each = shares(), shares(fill=strategies.nothing())
for name, found in (("arrays()", usual), ("with fill=nothing()", each)):
    print(f"{name:20} commonest value's share: median {np.median(found):.2f}; constant arrays: {np.mean(found == 1):.0%}")
sys.exit(0 if np.median(usual) > 0.7 and np.mean(usual == 1) > 0.05 and np.median(each) < 0.4 else 3)
PYTHON
