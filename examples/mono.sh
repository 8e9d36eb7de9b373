#!/bin/sh
# N = 1: one photograph, as many images as ImageNet has.
#
# Run it again after it was stopped for any reason, and it continues. All flags of single-image-gen
# may follow, such as --format webdataset (tars instead of files) or --recipe script.
#
#   mono.sh IMAGE TARGET [NUM_IMGS] [flags...]
set -eu
usage='usage: mono.sh IMAGE TARGET [NUM_IMGS] [flags...]'
image=${1:?$usage}
target=${2:?$usage}
shift 2
images=1281167
case ${1-} in [0-9]*) images=$1 && shift ;; esac

exec single-image-gen --recipe paper --include_sources --imgpath "$image" --targetpath "$target" \
    --num_imgs "$images" "$@"
