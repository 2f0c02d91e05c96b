#!/bin/sh
# Images per second of training on one thread: `nvcim train` on two third-party networks without their chip, with it,
# and for corrections, beside plain PyTorch on networks of the same layers, which knows no chip.
#
#     tests/training/speed.sh
#
# From the top folder, with a release build and with third-party networks and data in $NVCIM_SHARED; PyTorch runs where
# $PYTHON is a Python that has it. IMAGES (default 6400) are as many as each line of ResNet-8 trains on, once; LeNet-5, which
# is through with them before it has got going, has five times as many. The machine must have nothing else to do.
set -eu
shared=$(cd "${NVCIM_SHARED:-../shared}" && pwd)
nvcim=${NVCIM:-target/release/nvcim}
some=${IMAGES:-6400}
chip=tests/training/weight-noise.toml
out=target/training-speed
mkdir -p "$out"

# Words of options are arguments of their own.
# shellcheck disable=SC2086
train() {
    model=$1
    shift
    said=$("$nvcim" train "$shared/models/$model.onnx" --data "$data" $look --batch $batch --limit "$images" --hold-out 0 \
        --epochs 1 --threads 1 -q -o "$out/trained.onnx" --checkpoint "$out/checkpoint" "$@")
    echo "$said" | sed -n 's/.* \([0-9]*\) images per second$/\1/p'
}

# A line of the table, with the rate in relation to PyTorch's.
row() {
    printf '%-10s %5s  %-26s %8s  %s\n' "$which" "$batch" "$1" "$2" \
        "$([ -z "$torch" ] || echo "$2 $torch" | awk '{ printf "%.2f", $1 / $2 }')"
}

if [ -z "${PYTHON:-}" ] || ! "$PYTHON" -c "import torch" 2>/dev/null; then
    echo "PyTorch is skipped: \$PYTHON must be a Python that has it"
    PYTHON=
fi
printf '%-10s %5s  %-26s %8s  %s\n' network batch training images/s "of PyTorch"
for which in lenet5 resnet8; do
    case $which in
    lenet5)
        model=lenet5-ccoltong
        data=$shared/datasets/mnist:train
        look="--normalize 0.1307,0.3081"
        images=$((5 * some))
        ;;
    resnet8)
        model=mlperf-tiny-ic-resnet8-f32
        data=$shared/datasets/cifar10-jpeg75:train10k
        look="--scale 1"
        images=$some
        ;;
    esac
    for batch in 64 32; do
        torch=
        if [ -n "$PYTHON" ]; then
            torch=$("$PYTHON" tests/training/torch_speed.py $which $batch "$images")
            row "PyTorch, no chip" "$torch"
        fi
        row "nvcim train --ideal" "$(train $model --ideal)"
        row "  --chip weight-noise" "$(train $model --chip $chip)"
        row "    --corrected" "$(train $model --chip $chip --corrected)"
    done
done
