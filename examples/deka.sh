#!/bin/sh
# N = 10: ten photographs drawn from a folder, as many images as ImageNet has.
#
# Each photograph makes a class of its own, a tenth of the images. --seed chooses other ten.
#
#   deka.sh FOLDER TARGET [NUM_IMGS] [flags...]
set -eu
usage='usage: deka.sh FOLDER TARGET [NUM_IMGS] [flags...]'
folder=${1:?$usage}
target=${2:?$usage}
shift 2
images=1281167
case ${1-} in [0-9]*) images=$1 && shift ;; esac

exec single-image-gen --recipe paper --include_sources --imgpath "$folder" --targetpath "$target" \
    --num_imgs "$images" --num_sources 10 "$@"
