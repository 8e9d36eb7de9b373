#!/bin/sh
# One photograph for BiGAN, which is trained on 128 x 128 pixels.
#
#   bigan.sh IMAGE TARGET [NUM_IMGS] [flags...]
set -eu
usage='usage: bigan.sh IMAGE TARGET [NUM_IMGS] [flags...]'
image=${1:?$usage}
target=${2:?$usage}
shift 2
images=1281167
case ${1-} in [0-9]*) images=$1 && shift ;; esac

exec single-image-gen --recipe paper --include_sources --imgpath "$image" --targetpath "$target" \
    --num_imgs "$images" --img_size 128 "$@"
