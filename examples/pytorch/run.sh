#!/usr/bin/env bash
# The whole round trip: PyTorch trains with and without the chip, nvcim compiles and simulates, nvcim trains on, PyTorch
# loads what it wrote. Run from the top folder; everything lands in pytorch-out/.
#
#   NVCIM    the program (default: nvcim)
#   PYTHON   a Python with what requirements.txt names (default: python3)
set -euo pipefail
here=examples/pytorch
export NVCIM=${NVCIM:-nvcim}
python=${PYTHON:-python3}
out=pytorch-out
weight_noise=tests/training/weight-noise.toml
stress_b="--chip stress-b --at 1y"
mended=drift,stuck,column_gain,column_offset
mkdir -p "$out"

# Networks of equally many steps: without a chip, for two of them as they come, and for what corrections leave of one.
# shellcheck disable=SC2086  # a chip and its time
{
    "$python" $here/train.py -o "$out/plain.onnx"
    "$python" $here/train.py -o "$out/weight-noise.onnx" --chip $weight_noise
    "$python" $here/train.py -o "$out/stress-b.onnx" $stress_b
    "$python" $here/train.py -o "$out/stress-b-rest.onnx" $stress_b --without $mended
}

# The other way: nvcim goes on from the plain one, at the same rate, for as many epochs as the others saw their chip.
# shellcheck disable=SC2086
{
    train="$NVCIM train $out/plain.onnx --data digits:train --epochs 60 --batch 32 --rate 4e-3 --weight-decay 0.05 -q"
    $train -o "$out/weight-noise-nvcim.onnx" --chip $weight_noise
    $train -o "$out/stress-b-nvcim.onnx" $stress_b
    $train -o "$out/stress-b-rest-nvcim.onnx" $stress_b --corrected --without stuck
}

# PyTorch loads all of them back, measures them in float, and on dies that it draws itself.
# shellcheck disable=SC2086
{
    for name in plain weight-noise weight-noise-nvcim; do
        "$python" $here/measure.py "$out/$name.onnx" --chip $weight_noise --dies 100
    done
    for name in plain stress-b stress-b-nvcim stress-b-rest stress-b-rest-nvcim; do
        "$python" $here/measure.py "$out/$name.onnx" $stress_b --dies 100
    done
}

# nvcim measures on its dies: by hand, one image for any of a hundred dies, beside dies that PyTorch draws.
"$NVCIM" compile "$out/plain.onnx" --chip $weight_noise --calib digits:train -o "$out/naive.nvcim" -q >"$out/log"
"$NVCIM" simulate "$out/naive.nvcim" --data digits --dies 100 | grep accuracy
"$NVCIM" compile "$out/plain.onnx" --chip stress-b --calib digits:train -o "$out/naive.nvcim" -q >"$out/log"
"$NVCIM" simulate "$out/naive.nvcim" --data digits --dies 100 --without drift | grep accuracy
"$python" $here/measure.py "$out/plain.onnx" --chip stress-b --without drift --dies 100

# One die, compiled for.
"$NVCIM" die sample --chip $weight_noise --seed 0 -o "$out/die0.toml"
"$NVCIM" compile "$out/plain.onnx" --chip $weight_noise --calib digits:train --die "$out/die0.toml" -o "$out/die0.nvcim" -q >"$out/log"
"$NVCIM" simulate "$out/die0.nvcim" --die "$out/die0.toml" --data digits

# In float it finds what PyTorch found in the file that went there and back.
"$NVCIM" compile "$out/weight-noise-nvcim.onnx" --chip ideal --calib digits:train -o "$out/float.nvcim" -q >"$out/log"
"$NVCIM" simulate "$out/float.nvcim" --data digits --ideal

# And all of them on dies 0 to 9, without and with corrections.
"$NVCIM" study $here/study.toml -o "$out/study"
