#!/bin/sh
# Trains the networks of the studies beside this file: `train.sh lenet5` or `train.sh resnet8`, from the top folder,
# with the third-party networks and data in $NVCIM_SHARED. Extra arguments go to every training.
set -eu
shared=${NVCIM_SHARED:-../shared}
nvcim=${NVCIM:-target/release/nvcim}
which=$1
shift
case $which in
lenet5)
    name=lenet5-ccoltong
    model=$shared/models/lenet5-ccoltong.onnx
    data="--data $shared/datasets/mnist:train --normalize 0.1307,0.3081"
    course="--epochs 6"
    ;;
resnet8)
    name=resnet8-f32
    model=$shared/models/mlperf-tiny-ic-resnet8-f32.onnx
    data="--data $shared/datasets/cifar10-jpeg75:train10k --scale 1"
    course="--epochs 10 --batch 32 --rate 5e-4 --augment-shift 2 --augment-flip --distill 0.5"
    ;;
*)
    echo "usage: train.sh lenet5|resnet8 [OPTION...]" >&2
    exit 2
    ;;
esac
out=target/training
mkdir -p $out
# Words of these lists are arguments of their own.
# shellcheck disable=SC2086
run() {
    output=$out/$name-$1.onnx
    shift
    [ -e "$output" ] || "$nvcim" train "$model" $data $course "$@" -o "$output" --resume -v
}
run control --ideal "$@"
run weight-noise --chip tests/training/weight-noise.toml --corrected "$@"
run stress-a --chip stress-a --at 1y --corrected "$@"
run stress-b --chip stress-b --at 1y --corrected "$@"
run stress-c --chip stress-c --at 10y --corrected "$@"
