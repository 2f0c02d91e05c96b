#!/bin/sh
# Trains networks of the study for its chips with everything at once, and puts them beside it, where it looks for them.
# From the top folder; options go to `nvcim train`. Hours on one core: see tests/training/run.sh, which also measures them.
#
#     examples/recovery-study/train.sh [OPTION OF nvcim train...]
set -eu
for which in lenet5 fashion resnet8; do
    tests/training/run.sh "$which" "$@"
done
mkdir -p examples/recovery-study/trained
cp target/training/*-control.onnx target/training/*-stress-?.onnx examples/recovery-study/trained
