#!/usr/bin/env bash
# `import keras`, and so `import tensorflow`, loads matplotlib's pyplot, pandas and scikit-learn where they are installed.
# Seen in Keras 3.15.1 with TensorFlow 2.21.0, which imports Keras at its end: Keras's plots, data adapters and wrappers
# import them along with the modules that hold them, in a try for the case that they are absent. An environment for
# training has all three, one for serving has none, and the same program starts at another speed in each.
# Why it matters: they took a third of the processor time until a program over Keras could begin its work, and take it
# in each child process anew; a benchmark of start-up or of memory depends on packages that the program never calls.
# Instead: name the three in sys.modules as None while Keras is imported, where nothing needs its plots, its wrappers
# for scikit-learn or training on data frames; they can be imported as ever afterwards.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile tensorflow==2.21.0 keras==3.15.1 numpy==2.4.6 \
  matplotlib==3.11.2 pandas==3.1.1 scikit-learn==1.9.1
cd "$folder"
export CUDA_VISIBLE_DEVICES="" TF_CPP_MIN_LOG_LEVEL=3
cat >seen.py <<'PYTHON'
import sys
import time

NAMES = ("matplotlib", "pandas", "sklearn")
hidden = sys.argv[1] == "hidden"
if hidden:
    sys.modules.update(dict.fromkeys(NAMES))
begin = time.process_time()
import tensorflow
import keras
took = time.process_time() - begin
loaded = [name for name in ("matplotlib.pyplot", "pandas", "sklearn") if sys.modules.get(name)]
for name in NAMES if hidden else ():
    del sys.modules[name]
import sklearn
model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
print(f"{sys.argv[1]:7} tensorflow {tensorflow.__version__}, keras {keras.__version__}: {len(loaded)} of 3 loaded,"
      f" {took:.2f} s of processor time")
sys.exit(0 if len(loaded) == (0 if hidden else 3) else 3)
PYTHON
echo "expected: none of matplotlib, pandas and scikit-learn is loaded before it is used"
for case in plain hidden; do
  venv/bin/python seen.py "$case" 2>log || { code=$?; tail -n 3 log >&2; exit "$code"; }
done
