#!/bin/sh
# One photograph, as many images as ImageNet has: the paper's N = 1.
#
# Run it again after whatever stopped it, and it goes on. All flags of single-image-gen may follow,
# such as --recipe paper (section 3.1 of the paper) or --format webdataset (tars, not files).
#
#   mono.sh IMAGE TARGET [NUM_IMGS] [flags...]
set -eu
image=${1:?usage: mono.sh IMAGE TARGET [NUM_IMGS] [flags...]}
target=${2:?usage: mono.sh IMAGE TARGET [NUM_IMGS] [flags...]}
shift 2
images=1281167
case ${1-} in [0-9]*) images=$1 && shift ;; esac

exec single-image-gen --imgpath "$image" --targetpath "$target" \
    --num_imgs "$images" "$@"
