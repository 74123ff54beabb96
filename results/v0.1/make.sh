#!/bin/sh
# Everything in this folder, from the shipped weights. KODAK is the folder of the 24 images (default ../shared/data/images/kodak).
#   sh results/v0.1/make.sh [python]
set -eu
python=${1:-python3}
kodak=${KODAK:-../shared/data/images/kodak}
reference=${REFERENCE:-../shared/reference/rd_kodak.csv}
out=results/v0.1
"$python" -m tersor eval --data "$kodak" --anchors jpeg,webp,avif,jxl --reference "$reference" -o $out/kodak | tee $out/kodak.txt
"$python" tools/evaluate.py effort --data "$kodak" --limit 6 | tee $out/effort.txt
"$python" -m tersor bench --data "$kodak" --limit 8 | tee $out/bench.txt
"$python" tools/evaluate.py memory | tee $out/memory.txt
