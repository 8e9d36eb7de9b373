#!/bin/sh
# N = 1,000: a thousand photographs drawn from a folder, as many images as ImageNet has.
#
# They make a thousand classes of 1,281 or 1,282 images, so that the dataset looks like ImageNet to
# any program that reads it. --seed chooses another thousand.
#
#   kilo.sh FOLDER TARGET [NUM_IMGS] [flags...]
set -eu
usage='usage: kilo.sh FOLDER TARGET [NUM_IMGS] [flags...]'
folder=${1:?$usage}
target=${2:?$usage}
shift 2
images=1281167
case ${1-} in [0-9]*) images=$1 && shift ;; esac

exec single-image-gen --recipe paper --include_sources --imgpath "$folder" --targetpath "$target" \
    --num_imgs "$images" --num_sources 1000 "$@"
