#!/bin/sh
# Pictures on Kodak, from the shipped weights; the second argument is a table of published curves (may be empty).
#   sh results/v0.2/image.sh KODAK [REFERENCE.csv] [python]
set -eu
kodak=$1
reference=${2:-}
python=${3:-python3}
out=results/v0.2
keep() {
    name=$1
    shift
    "$python" "$@" >"$out/$name.txt"
    cat "$out/$name.txt"
}
keep kodak -m tersor eval --data "$kodak" --anchors jpeg,webp,avif,jxl --qualities 2,13,24,36,48,60,70,78 ${reference:+--reference "$reference"} -o $out/kodak
keep blocks tools/studies.py blocks --data "$kodak"
keep effort tools/studies.py effort --data "$kodak" --limit 2
keep bench -m tersor bench --data "$kodak" --limit 8
keep beside tools/studies.py beside
keep memory tools/studies.py memory
keep hostile tools/study_hostile.py
