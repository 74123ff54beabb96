#!/bin/sh
# Speech beside Opus; the argument is a folder of sounds (speech/). Opus's curves are those that 0.1's results print.
#   sh results/v0.2/sound.sh SOUNDS [python]
set -eu
python=${2:-python3}
out=results/v0.2
"$python" -m tersor eval --codec audio --data "$1/speech" --anchors "" --bitrates 8,12,24 \
    --judges "pesq,visqol speech,stoi,mel,si_sdr_db" >$out/sound-speech.txt
"$python" tools/study_sound.py against results/v0.1/audio-visqol.txt $out/sound-speech.txt >$out/sound-panel.txt
