#!/usr/bin/env bash
# From the ONNX file to deployment images, to ten dies, to a report; everything lands in flash-lenet-out/.
#
#   NVCIM   the program (default: nvcim)
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
nvcim=${NVCIM:-nvcim}
model=$here/../../onnx-models/lenet-digits.onnx
out=flash-lenet-out
mkdir -p "$out"

# One image for any die, and what it does on ten of them.
"$nvcim" compile "$model" --chip nor-flash-lenet --calib digits:train -o "$out/naive.nvcim"
"$nvcim" simulate "$out/naive.nvcim" --data digits --dies 10

# One die, measured and compiled for, and the same network on it.
"$nvcim" die sample --chip nor-flash-lenet --seed 0 -o "$out/die0.toml"
"$nvcim" compile "$model" --chip nor-flash-lenet --calib digits:train --die "$out/die0.toml" -o "$out/die0.nvcim"
"$nvcim" verify "$out/die0.nvcim" --die "$out/die0.toml" --model "$model" --data digits

# Ten dies, each compiled for anew, by every method, with the report.
"$nvcim" study "$here/study.toml" -o "$out/study"
