#!/bin/sh
# The ledgers of video, from the shipped tables. The first argument is a folder of clips to measure on, the second
# one of training clips.
#   sh results/v0.2/video.sh CLIPS TRAIN [python]
set -eu
clips=$1 train=$2
python=${3:-python3}
out=results/v0.2
keep() {
    name=$1
    shift
    "$python" "$@" >"$out/$name.txt"
    cat "$out/$name.txt"
}
keep video tools/studies_video.py ledger --data "$clips" --log $out/video.jsonl --anchors x265,svtav1 \
    --clips basketballpass,tennis,paper,aspen,bedroom,face,soapbox,kitesurf
keep video-memory tools/studies_video.py memory
keep video-seek tools/studies_video.py seek
keep video-filter tools/studies_video.py filter --data "$clips" --frames 9
keep video-structures tools/studies_video.py structures --data "$train" --frames 17 --effort 1
