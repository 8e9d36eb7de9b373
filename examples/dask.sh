#!/bin/sh
# One dataset by the workers of an existing Dask cluster.
#
#   dask.sh SCHEDULER IMAGE TARGET [NUM_IMGS] [flags...]
#
# SCHEDULER is its address, such as tcp://host:8786. The workers need the same libraries as this
# machine (pip install 'single-image-gen[dask]'), and IMAGE and TARGET under the same paths. To try
# it on one machine:
#
#   dask scheduler --host 127.0.0.1 &
#   dask worker tcp://127.0.0.1:8786 --nworkers 4 --nthreads 1 &
#   dask.sh tcp://127.0.0.1:8786 photo.jpg out 10000
set -eu
usage='usage: dask.sh SCHEDULER IMAGE TARGET [NUM_IMGS] [flags...]'
scheduler=${1:?$usage}
image=${2:?$usage}
target=${3:?$usage}
shift 3
images=1281167
case ${1-} in [0-9]*) images=$1 && shift ;; esac

exec single-image-gen --recipe paper --include_sources --imgpath "$image" --targetpath "$target" \
    --num_imgs "$images" --backend dask --scheduler "$scheduler" "$@"
