#!/bin/sh
# The ledger of overfitted pictures: Kodak 5, 13, 19, 23. It takes hours, goes on where overfit.jsonl ends, and prints what
# is there. Rows of an older code stay in the log and have lines of their own in the table.
#   sh results/v0.2/overfit.sh KODAK REFERENCE.csv [python]
set -eu
python=${3:-python3}
out=results/v0.2
"$python" tools/study_overfit.py curve --data "$1" --log $out/overfit.jsonl --iterations 4000
"$python" tools/study_overfit.py table --log $out/overfit.jsonl --reference "$2" --points >$out/overfit.txt
cat $out/overfit.txt
