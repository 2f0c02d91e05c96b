#!/bin/sh
# Trains every network of the study that holds floats, and puts the files beside it, where it looks for them: NAME.onnx for
# chip C after ten years, which has every defect at once, and NAME-control.onnx with all effects off.
#
#     examples/recovery-study/train.sh [NAME...]
#
# From the top folder, with a release build and with third-party networks and data in $NVCIM_SHARED; all of them without a
# name. All of them took 61 minutes of CPU time on an Intel Xeon, of which the ResNet-20 took 23. What was made is not made
# again; a training that was stopped goes on.
set -eu
shared=$(cd "${NVCIM_SHARED:-../shared}" && pwd)
nvcim=${NVCIM:-target/release/nvcim}
out=examples/recovery-study/trained
mkdir -p "$out"
all="lenet5-ccoltong lenet5-jinsoo mnist-8 lenet5-fashion resnet8-f32 resnet20-aka"
# The words of the list are names of their own.
# shellcheck disable=SC2086
[ $# -gt 0 ] || set -- $all

for name in "$@"; do
    images=mnist:train
    course="--epochs 6 --rate 1e-4 --distill 0.5"
    case $name in
    lenet5-ccoltong) model=$shared/models/lenet5-ccoltong.onnx look="--normalize 0.1307,0.3081" ;;
    lenet5-jinsoo) model=$shared/models/lenet5-jinsoo.onnx look="--resize 32,32" ;;
    mnist-8) model=$shared/models/mnist-8.onnx look="--scale 1" ;;
    lenet5-fashion) model=onnx-models/lenet5-fashion.onnx look="" images=fashion-mnist:train ;;
    resnet8-f32) model=$shared/models/mlperf-tiny-ic-resnet8-f32.onnx look="--scale 1" images=cifar10-jpeg75:train10k ;;
    resnet20-aka)
        model=$shared/models/cifar10-resnet20-aka.onnx images=cifar10-jpeg75:train10k
        look="--normalize 0.485/0.456/0.406,0.229/0.224/0.225"
        ;;
    *)
        echo "train.sh: no network \`$name\`, give some of $all" >&2
        exit 2
        ;;
    esac
    # One die chooses the epoch: to compile for three after every epoch would take most of the time.
    residual="--batch 32 --rate 2e-4 --augment-shift 2 --augment-flip --distill 0.5 --dies 1"
    case $name in
    resnet20*) course="--epochs 5 $residual" ;;
    resnet8*) course="--epochs 10 $residual" ;;
    esac
    # Corrections mend stuck cells, by rows and copies that training knows nothing of: it is for the rest.
    for chip in "-control --ideal" " --chip stress-c --at 10y --corrected --without stuck"; do
        file=$out/$name${chip%% *}.onnx
        # The words of these lists are options of their own.
        # shellcheck disable=SC2086
        [ -e "$file" ] || "$nvcim" train "$model" --data "$shared/datasets/$images" $look $course ${chip#* } -o "$file" --resume -v
    done
done
