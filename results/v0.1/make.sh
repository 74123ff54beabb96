#!/bin/sh
# Everything in this folder, from the shipped weights. The first argument is the folder of the 24 Kodak images, the second a table of published curves (may be empty), the
# fourth a folder of .npy fields, the fifth one of sounds (speech/, music/).
#   sh results/v0.1/make.sh KODAK [REFERENCE.csv] [python] [FIELDS] [SOUNDS]
set -eu
kodak=$1
reference=${2:-}
python=${3:-python3}
fields=${4:-}
sounds=${5:-}
out=results/v0.1
keep() {
    name=$1
    shift
    "$python" "$@" >"$out/$name.txt"
    cat "$out/$name.txt"
}
keep kodak -m tersor eval --data "$kodak" --anchors jpeg,webp,avif,jxl --qualities 2,13,24,36,48,60,70,78 ${reference:+--reference "$reference"} -o $out/kodak
if [ -n "$fields" ]; then
    keep fields -m tersor eval --codec field --data "$fields" -o $out/fields
    keep bench-fields -m tersor bench --codec field --data "$fields" --limit 11 --repeat 3
    keep access tools/studies.py access --data "$fields/vorticity3d.npy"
fi
keep lossless tools/studies.py lossless --data "$kodak"
if [ -n "$sounds" ]; then
    keep audio-speech -m tersor eval --codec audio --data "$sounds/speech" --anchors opus,mp3,aac --bitrates 6,8,12,16,24,32 -o $out/audio/speech
    keep audio-visqol -m tersor eval --codec audio --data "$sounds/speech" --anchors opus --bitrates 8,12,24 --judges "pesq,stoi,si_sdr_db,mel,visqol speech"  # needs tersor[judges]
    keep audio-music -m tersor eval --codec audio --data "$sounds/music" --anchors opus,mp3,aac --bitrates 24,48,96 -o $out/audio/music
fi
if [ -n "$sounds" ]; then taskset -c 1 "$python" -m tersor eval --codec audio --data "$sounds/speech" --anchors "" --bitrates 24 | grep -E "^speed|^lossless|FLAC|exact" >$out/audio-one-core.txt; fi
keep audio-hour tools/studies.py hour
keep effort tools/studies.py effort --data "$kodak" --limit 2
keep bench -m tersor bench --data "$kodak" --limit 8
ONEDNN_MAX_CPU_ISA=AVX2 keep bench-without-vnni -m tersor bench --limit 1
keep memory tools/studies.py memory
keep damage tools/studies.py damage
