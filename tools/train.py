"""Train the networks of tersor's codecs.

    python tools/train.py speech --data DIR --out runs/speech
    python tools/train.py audio --data DIR --speech runs/speech/speech.safetensors --out runs/audio
    python tools/train.py voice --data DIR --out runs/voice
    python tools/train.py image --data DIR... --dev DIR --out runs/image --steps 7200
    python tools/train.py filter --data DIR... --start-from image-1.safetensors --out runs/filter

Stop it at any moment; the same command goes on from the last checkpoint to the same result (a save holds
weights, EMA, optimisers, generators and step). Logs are JSON lines in OUT/log.jsonl. `--start-from
weights.safetensors` begins from released weights with fresh optimisers and a short warm-up. Several GPUs:
`torchrun --nproc-per-node N tools/train.py image ...`. The result is frozen into release form by
tools/freeze_tables.py.
"""

from __future__ import annotations

import argparse

import torch


def parse() -> argparse.Namespace:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sub = p.add_subparsers(dest="codec", required=True)
    q = sub.add_parser("image", help="the image model")
    q.add_argument("--data", nargs="+", required=True, help="folders of training images")
    q.add_argument("--dev", required=True, help="folder of images to measure on, never trained on")
    q.add_argument("--dev-images", type=int, default=6, help="how many of them")
    q.add_argument("--out", default="runs/image", help="folder of checkpoint, log and EMA weights")
    q.add_argument("--steps", type=int, default=7200)
    q.add_argument("--stop-at", type=int, help="save and stop at this step of the schedule")
    q.add_argument("--batch", type=int, default=8, help="crops a step and process")
    q.add_argument("--crop", type=int, default=256, help="side of a crop, a multiple of 64")
    q.add_argument(
        "--lr", type=float, default=1e-3, help="AdamW; Muon has twice it, six times in the pixel filter"
    )
    q.add_argument("--weight-decay", type=float, default=0.02, help="of Muon")
    q.add_argument("--seed", type=int, default=0)
    q.add_argument("--eval-every", type=int, default=1000)
    q.add_argument("--save-every", type=int, default=500)
    q.add_argument("--start-from", help="released weights (.safetensors) to start from")
    q.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    q = sub.add_parser("filter", help="the pixel filter of the image model, on pictures as they are coded")
    q.add_argument("--data", nargs="+", required=True, help="folders of training images")
    q.add_argument("--start-from", required=True, help="released weights, which the result stands on")
    q.add_argument("--out", default="runs/filter", help="folder of crops, checkpoint, log and weights")
    q.add_argument("--crops", type=int, default=4000)
    q.add_argument("--steps", type=int, default=6000)
    q.add_argument("--stop-at", type=int, help="save and stop at this step of the schedule")
    q.add_argument("--batch", type=int, default=4, help="crops a step")
    q.add_argument("--lr", type=float, default=3e-4)
    q.add_argument("--edges", type=float, default=0.1, help="weight of the edges of blocks")
    q.add_argument("--every", type=int, default=250, help="steps between lines of the log and checkpoints")
    q.add_argument("--seed", type=int, default=0)
    q = sub.add_parser("audio", help="what the audio coder knows at the start")
    q.add_argument(
        "--data",
        nargs="+",
        required=True,
        help="folders of training sounds, with subfolders; "
        "those in a folder called speech are trained in mono",
    )
    q.add_argument("--out", default="runs/audio", help="folder of state and frozen tables")
    q.add_argument("--passes", type=int, default=2, help="over all files, another piece of each")
    q.add_argument("--seconds", type=float, default=6.0, help="of a file in a pass")
    q.add_argument("--count-max", type=int, default=60, help="how firmly the frozen slots stand")
    q.add_argument("--seed", type=int, default=0)
    q.add_argument("--speech", help="weights of the speech net, to go into the file")
    q = sub.add_parser(
        "voice", help="what the coder of speech knows at the start, on the tables of all sound"
    )
    q.add_argument(
        "--data", nargs="+", required=True, help="folders of sounds; those in one called speech are used"
    )
    q.add_argument("--out", default="runs/voice", help="folder of state and frozen tables")
    q.add_argument("--base", default="8e04adbb", help="digest of the tables that it stands on")
    q.add_argument("--passes", type=int, default=2, help="over all files, another piece of each")
    q.add_argument("--seconds", type=float, default=8.0, help="of a file in a pass")
    q.add_argument("--count-max", type=int, default=60, help="how firmly the frozen slots stand")
    q.add_argument("--seed", type=int, default=0)
    q = sub.add_parser("video", help="what the video coder knows at the start")
    q.add_argument("--data", nargs="+", required=True, help="folders of training clips, with subfolders")
    q.add_argument("--out", default="runs/video", help="folder of state and frozen tables")
    q.add_argument("--passes", type=int, default=2, help="over all clips, another piece of each")
    q.add_argument("--frames", type=int, default=9, help="of a clip in a pass")
    q.add_argument("--side", type=int, default=256, help="of the piece of the picture that is coded")
    q.add_argument("--effort", type=int, default=4)
    q.add_argument("--count-max", type=int, default=30, help="how firmly the frozen slots stand")
    q.add_argument("--seed", type=int, default=0)
    q = sub.add_parser("speech", help="the net that decoders of speech run")
    q.add_argument(
        "--data",
        nargs="+",
        required=True,
        help="folders of training sounds; those in a folder called speech are used",
    )
    q.add_argument("--out", default="runs/speech", help="folder of checkpoint and weights")
    q.add_argument("--steps", type=int, default=3000)
    q.add_argument("--stop-at", type=int, help="save and stop at this step of the schedule")
    q.add_argument("--batch", type=int, default=3, help="pieces a step")
    q.add_argument("--lr", type=float, default=2e-3)
    q.add_argument("--every", type=int, default=150, help="steps between lines of the log and checkpoints")
    q.add_argument("--seed", type=int, default=0)
    return p.parse_args()


def main() -> None:
    args = parse()
    if args.codec == "audio":
        from training.audio import run
    elif args.codec == "voice":
        from training.voice import run
    elif args.codec == "video":
        from training.video import run
    elif args.codec == "speech":
        from training.speech import run
    elif args.codec == "filter":
        from training.image_filter import run
    else:
        from training.image import run
    run(args)


if __name__ == "__main__":
    main()
