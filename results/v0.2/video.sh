#!/bin/sh
# The ledgers of video, from the shipped tables. The first argument is a folder of clips.
#   sh results/v0.2/video.sh CLIPS [python]
set -eu
clips=$1
python=${2:-python3}
out=results/v0.2
keep() {
    name=$1
    shift
    "$python" "$@" >"$out/$name.txt"
    cat "$out/$name.txt"
}
keep video -m tersor eval --codec video --data "$clips" --anchors x264,x265,svtav1,vp9 -o $out/video
keep video-memory tools/studies_video.py memory
keep video-seek tools/studies_video.py seek
