#!/bin/sh
# Ten photographs, as many images as ImageNet has: the paper's N = 10.
#
# FOLDER holds the photographs. Each makes a class of its own, and a tenth of the images.
#
#   deka.sh FOLDER TARGET [NUM_IMGS] [flags...]
set -eu
folder=${1:?usage: deka.sh FOLDER TARGET [NUM_IMGS] [flags...]}
target=${2:?usage: deka.sh FOLDER TARGET [NUM_IMGS] [flags...]}
shift 2
images=1281167
case ${1-} in [0-9]*) images=$1 && shift ;; esac

exec single-image-gen --imgpath "$folder" --targetpath "$target" \
    --num_imgs "$images" "$@"
