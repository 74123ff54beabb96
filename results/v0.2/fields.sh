#!/bin/sh
# Fields beside SZ3 at three efforts.
#   sh results/v0.2/fields.sh FIELDS [python]
set -eu
python=${2:-python3}
for effort in 1 5 9; do
    "$python" -m tersor eval --codec field --data "$1" --anchors sz3 --effort $effort \
        >results/v0.2/fields-effort-$effort.txt
done
"$python" -m tersor bench --codec field --data "$1" --limit 11 --repeat 3 >results/v0.2/bench-fields.txt
