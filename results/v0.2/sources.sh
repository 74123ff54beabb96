#!/bin/sh
# What becomes of source files: one flipped bit in files whose formats carry checksums. The first argument is a
# folder with images/kodak, audio, fields and video.
#   sh results/v0.2/sources.sh DATA [python [PICTURES]]
set -eu
data=$1
python=${2:-python3}
out=results/v0.2
"$python" tools/study_damage_of_sources.py --data "$data" >$out/damage-of-sources.txt
cat $out/damage-of-sources.txt
"$python" tools/study_xarray.py >$out/xarray.txt
cat $out/xarray.txt
# Pillow's own test pictures, if a folder of them is the third argument: Tests/images of its source distribution
if [ $# -gt 2 ]; then
    "$python" tools/study_pictures.py "$3" >$out/pillow-pictures.txt
    cat $out/pillow-pictures.txt
fi
