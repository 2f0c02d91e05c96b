#!/bin/sh
# What training for the chip is worth: trains a network for four chips and its control, measures all of it on dies 0
# to 9 by `nvcim study`, and prints what training cost on the ideal chip.
#
#     tests/training/run.sh lenet5|fashion|resnet8 [OPTION OF nvcim train...]
#
# From the top folder, with a release build and with third-party networks and data in $NVCIM_SHARED. QUICK=1 trains
# on 600 images for an epoch and tests on 200 and one die, to see that everything runs. What was made before is not
# made again; trainings and studies that were stopped go on.
set -eu
shared=$(cd "${NVCIM_SHARED:-../shared}" && pwd)
nvcim=${NVCIM:-target/release/nvcim}
out=target/training
quick=
limits=
if [ -n "${QUICK:-}" ]; then
    out=target/training-quick
    quick=--quick
fi
which=$1
shift
case $which in
lenet5)
    name=lenet5-ccoltong
    model=$shared/models/lenet5-ccoltong.onnx
    train=$shared/datasets/mnist:train
    test=$shared/datasets/mnist:t10k
    look="--normalize 0.1307,0.3081"
    epochs=6
    course="--rate 1e-4 --distill 0.5"
    ;;
fashion)
    name=lenet5-fashion
    model=onnx-models/lenet5-fashion.onnx
    train=$shared/datasets/fashion-mnist:train
    test=$shared/datasets/fashion-mnist:t10k
    look=
    epochs=6
    course="--rate 1e-4 --distill 0.5"
    ;;
resnet8)
    name=resnet8-f32
    model=$shared/models/mlperf-tiny-ic-resnet8-f32.onnx
    train=$shared/datasets/cifar10-jpeg75:train10k
    test=$shared/datasets/cifar10-jpeg75:test
    look="--scale 1"
    epochs=10
    course="--batch 32 --rate 2e-4 --augment-shift 2 --augment-flip --distill 0.5"
    ;;
*)
    echo "usage: run.sh lenet5|fashion|resnet8 [OPTION...]" >&2
    exit 2
    ;;
esac
if [ -n "$quick" ]; then
    epochs=1
    course="$course --limit 600 --hold-out 50 --dies 1"
    limits="--limit 200"
fi
mkdir -p "$out"

# Chips, and the times of use that networks are trained for.
chips="weight-noise=0s stress-a=1y stress-b=1y stress-c=10y"

# The file or preset of a chip.
file_of() {
    case $1 in
    weight-noise) echo tests/training/weight-noise.toml ;;
    *) echo "$1" ;;
    esac
}

# The words of these lists are arguments of their own.
# shellcheck disable=SC2086
train() {
    output=$out/$name-$1.onnx
    shift
    [ -e "$output" ] || "$nvcim" train "$model" --data "$train" $look --epochs $epochs $course "$@" -o "$output" --resume -v
}
train control --ideal "$@"
# Corrections mend stuck cells, by rows and copies that training knows nothing of: it is for the rest.
for chip in $chips; do
    train "${chip%=*}" --chip "$(file_of "${chip%=*}")" --at "${chip#*=}" --corrected --without stuck "$@"
done

# Studies find files beside themselves.
cp tests/training/weight-noise.toml "$out"
sed "s#\.\./\.\./target/training/##" "tests/training/study-$which.toml" >"$out/study-$which.toml"
# shellcheck disable=SC2086
"$nvcim" study "$out/study-$which.toml" $quick --shared "$shared" -o "$out/study-$which"

echo
echo "on the ideal chip, in percent of test images:"
for file in "$model" "$out/$name"-*.onnx; do
    "$nvcim" compile "$file" --chip ideal --calib "$train" $look -o "$out/clean.nvcim" -q >/dev/null
    # shellcheck disable=SC2086
    right=$("$nvcim" simulate "$out/clean.nvcim" --data "$test" $look $limits --ideal --json -q |
        sed 's/.*"mean":\([0-9.]*\).*/\1/')
    echo "$right  $(basename "$file")"
done

# Those that chose the epoch, in the place of test dies: a network that was fitted to them would do better here.
echo
echo "corrected, in percent of test images, on the three dies that held-out images ran on:"
for chip in $chips; do
    for die in 0 1 2; do
        "$nvcim" die sample --chip "$(file_of "${chip%=*}")" --seed $((1099511627776 + die)) -o "$out/chosen.npz" -q >/dev/null
        "$nvcim" compile "$out/$name-${chip%=*}.onnx" --chip "$(file_of "${chip%=*}")" --die "$out/chosen.npz" \
            --at "${chip#*=}" --calib "$train" $look -o "$out/chosen.nvcim" -q >/dev/null
        # shellcheck disable=SC2086
        "$nvcim" simulate "$out/chosen.nvcim" --die "$out/chosen.npz" --at "${chip#*=}" --data "$test" $look $limits --json -q |
            sed 's/.*"mean":\([0-9.]*\).*/\1/'
    done | awk -v name="${chip%=*}" '{ sum += $1 } END { printf "%.2f  %s\n", sum / NR, name }'
done
