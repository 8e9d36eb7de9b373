#!/bin/bash
# One dataset by an array of Slurm jobs; each task makes its share.
#
#   sbatch --array=0-15 slurm.sh IMAGE TARGET [NUM_IMGS] [flags...]
#
# The tasks share nothing but TARGET, on a file system that all of them see; they may run in any
# order, at once or not. Submit a failed or cancelled task again by its number (sbatch --array=7
# slurm.sh ...) with the same arguments: it makes everything that is still missing then. Arrays may
# start anywhere and have a step (1-16, 0-30:2); a list with gaps is refused. It writes tars, which
# shared file systems handle better than a million files; --format folder at the end makes files.
#
#SBATCH --job-name=single-image-gen
#SBATCH --array=0-15
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=8
#SBATCH --time=02:00:00
set -eu
usage='usage: slurm.sh IMAGE TARGET [NUM_IMGS] [flags...]'
image=${1:?$usage}
target=${2:?$usage}
shift 2
images=1281167
case ${1-} in [0-9]*) images=$1 && shift ;; esac

# exec, so that Slurm's signals reach the program itself, which then stops in order
exec single-image-gen --recipe paper --include_sources --imgpath "$image" --targetpath "$target" \
    --num_imgs "$images" --format webdataset --shard auto "$@"
