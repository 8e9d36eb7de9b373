#!/bin/sh
# A thousand photographs, as many images as ImageNet has: the paper's N = 1,000.
#
# FOLDER holds the photographs. They make a thousand classes of 1,281 images or one more, so that
# the dataset looks as ImageNet does to whatever reads it.
#
#   kilo.sh FOLDER TARGET [NUM_IMGS] [flags...]
set -eu
folder=${1:?usage: kilo.sh FOLDER TARGET [NUM_IMGS] [flags...]}
target=${2:?usage: kilo.sh FOLDER TARGET [NUM_IMGS] [flags...]}
shift 2
images=1281167
case ${1-} in [0-9]*) images=$1 && shift ;; esac

exec single-image-gen --imgpath "$folder" --targetpath "$target" \
    --num_imgs "$images" "$@"
