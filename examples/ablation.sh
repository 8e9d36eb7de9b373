#!/bin/sh
# The eight datasets of the paper's ablation (its Table 1): no augmentation, color jitter,
# rotation, scale, and their combinations; 50,000 images of 32 x 32 pixels each.
#
#   ablation.sh IMAGE TARGET [NUM_IMGS] [flags...]
#
# makes TARGET/none, TARGET/jitter, TARGET/rotation, TARGET/scale, TARGET/rotation_jitter, ...,
# TARGET/all. Image i of each is drawn from the same random numbers, so that only the ablated
# transforms differ; a crop's relative position and the flip are the same in all eight. With one
# exception: with rotation, a crop's area refers to the upright rectangle inside the rotated source,
# and so crops are also smaller: in the median 0.6 of the area in a photograph of 4 : 3, a third in
# one of 8 : 3. Without scale, sizes then still vary.
#
# "Off" means: no jitter (--jitter 0); no rotation or shear (--deg 0 --shear 0); crops of a single
# size and shape, squares of an eighth of the area (--scale 8 8 --ratio 1 1). Half of the area would
# be the mean of the other datasets, but squares that large all show the center of the photograph,
# and do not fit the upright rectangle inside a rotated one. Squares of an eighth do, in photographs
# up to four times as wide as high.
set -eu
usage='usage: ablation.sh IMAGE TARGET [NUM_IMGS] [flags...]'
image=${1:?$usage}
target=${2:?$usage}
shift 2
images=50000
case ${1-} in [0-9]*) images=$1 && shift ;; esac

no_jitter='--jitter 0'
no_rotation='--deg 0 --shear 0'
no_scale='--scale 8 8 --ratio 1 1'

# dataset NAME OFF [flags...]: all augmentations but those that OFF switches off
dataset() {
    name=$1 off=$2
    shift 2
    echo "$target/$name:"
    # shellcheck disable=SC2086 # OFF is several words
    single-image-gen --recipe paper --imgpath "$image" --targetpath "$target/$name" \
        --num_imgs "$images" --img_size 32 $off "$@"
}

dataset none "$no_jitter $no_rotation $no_scale" "$@"
dataset jitter "$no_rotation $no_scale" "$@"
dataset rotation "$no_jitter $no_scale" "$@"
dataset scale "$no_jitter $no_rotation" "$@"
dataset rotation_jitter "$no_scale" "$@"
dataset rotation_scale "$no_jitter" "$@"
dataset jitter_scale "$no_rotation" "$@"
dataset all "" "$@"
