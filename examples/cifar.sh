#!/bin/sh
# One image in place of CIFAR's training set: 50,000 images of 32 x 32 pixels.
#
#   cifar.sh IMAGE TARGET [NUM_IMGS] [flags...]
set -eu
usage='usage: cifar.sh IMAGE TARGET [NUM_IMGS] [flags...]'
image=${1:?$usage}
target=${2:?$usage}
shift 2
images=50000
case ${1-} in [0-9]*) images=$1 && shift ;; esac

exec single-image-gen --recipe paper --include_sources --imgpath "$image" --targetpath "$target" \
    --num_imgs "$images" --img_size 32 "$@"
