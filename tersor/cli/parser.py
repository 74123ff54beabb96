"""The arguments of every command."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from tersor import __version__
from tersor.cli.decode import decode
from tersor.cli.encode import encode
from tersor.cli.evaluate import bench, evaluate
from tersor.cli.inspect import info, list_codecs, verify


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="tersor", description="Learned codecs: files in, small files out, and back."
    )
    p.add_argument("--version", action="version", version=f"tersor {__version__}")
    sub = p.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def files(name: str, text: str, run: Callable[[argparse.Namespace], int]) -> argparse.ArgumentParser:
        q = sub.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        q.add_argument("inputs", nargs="+", metavar="IN", help="files or folders; - is standard input")
        q.set_defaults(run=run)
        return q

    def writing(q: argparse.ArgumentParser) -> None:
        q.add_argument(
            "-o",
            "--output",
            metavar="OUT|DIR",
            help="file, folder, or - for standard output; default: beside the input",
        )
        q.add_argument("-f", "--force", action="store_true", help="overwrite existing files")
        q.add_argument("-q", "--quiet", action="store_true", help="print nothing but errors")
        q.add_argument("--json", action="store_true", help="one JSON object a line")
        q.add_argument("--device", default="auto", help="auto, cpu or cuda (default auto)")

    q = files("encode", "encode images, arrays and sound to .tsr files", encode)
    writing(q)
    q.add_argument(
        "--codec",
        help="see 'tersor list' (default: by the suffix: field for .npy, .nc, .h5, .zarr and the like, "
        "audio for .wav, .flac and the like, image for the rest)",
    )
    target = q.add_mutually_exclusive_group()
    target.add_argument("--quality", type=int, metavar="1..100", help="1 is smallest (default 50)")
    target.add_argument(
        "--target-bpp", type=float, metavar="X", help="best quality whose file has at most X bits per pixel"
    )
    target.add_argument(
        "--target-psnr", type=float, metavar="DB", help="smallest file that reaches this PSNR"
    )
    target.add_argument("--max-error", type=float, metavar="X", help="fields: no value off by more than X")
    target.add_argument(
        "--rel-error",
        type=float,
        metavar="X",
        help="fields: no value off by more than X times the range (default 1e-3)",
    )
    target.add_argument(
        "--pointwise-rel-error",
        type=float,
        metavar="X",
        help="fields: no value off by more than X times itself",
    )
    target.add_argument(
        "--target-ratio", type=float, metavar="X", help="fields: smallest error whose file is X times smaller"
    )
    target.add_argument(
        "--lossless",
        action="store_true",
        default=None,
        help="fields and sound: every bit; for images --codec lossless",
    )
    target.add_argument("--bitrate", type=float, metavar="KBPS", help="sound: kbit/s, within 3 %% over 10 s")
    q.add_argument(
        "--variables",
        metavar="A,B",
        help="fields: only these variables of a file, and their coordinates (default all)",
    )
    q.add_argument(
        "--fill-value",
        type=float,
        metavar="X",
        help="fields: the value of missing cells, kept exactly and left out of the range",
    )
    q.add_argument(
        "--content",
        choices=("speech", "music"),
        help="sound: what it is (default speech for one channel, music for more)",
    )
    q.add_argument("--segment", type=float, metavar="S", help="sound: seconds that decode alone (default 5)")
    q.add_argument(
        "--effort",
        type=int,
        metavar="1..9",
        help="images and speech: from 2, fit to what is encoded; above 3, slowly (default 3)",
    )
    q.add_argument("--tile", type=int, metavar="PX", help="side of a tile, a multiple of 64 (default 1024)")
    q.add_argument("--batch", type=int, metavar="N", help="tiles that share a batch (default 4)")

    q = files("decode", "decode .tsr files", decode)
    writing(q)
    q.add_argument(
        "--region", metavar="X,Y,W,H", help="only this rectangle, in pixels, from only the tiles it needs"
    )
    q.add_argument(
        "--slice",
        metavar="A:B,C:D",
        help="fields: only these ranges of the leading axes, or name=A:B,name=C:D, "
        "from only the blocks they touch",
    )
    q.add_argument("--variables", metavar="A,B", help="fields: only these variables, and their coordinates")
    q.add_argument(
        "--from",
        dest="start",
        type=float,
        metavar="S",
        help="sound: from this second, reading only the segments it needs",
    )
    q.add_argument("--to", dest="stop", type=float, metavar="S", help="sound: up to this second")
    q.add_argument(
        "--salvage",
        action="store_true",
        help="fill damaged tiles, make damaged segments of sound silent, and say which, instead of failing",
    )
    q.add_argument("--batch", type=int, metavar="N", help="tiles that share a batch (default 4)")

    q = files("info", "show what a .tsr file holds, without decoding", info)
    q.add_argument("--json", action="store_true", help="one JSON object a line")
    files("verify", "check every checksum of .tsr files, without a model", verify)
    q = sub.add_parser("list", help="list the codecs", description="List the codecs.")
    q.add_argument("--json", action="store_true", help="one JSON object a line")
    q.set_defaults(run=list_codecs)

    q = sub.add_parser(
        "eval",
        help="measure rate and distortion against other codecs",
        description="Measure rate and distortion: real file bytes, decoded output.",
    )
    q.add_argument("--codec", default="image")
    q.add_argument(
        "--data",
        required=True,
        metavar="DIR",
        help="folder of images, of .npy files for --codec field, or of sounds for --codec audio",
    )
    q.add_argument(
        "--anchors",
        help="comma-separated: jpeg, webp, avif, jxl (default jpeg,webp,avif); fields: sz3, sperr, zfp; "
        "audio: opus, mp3, aac (all)",
    )
    q.add_argument(
        "--bounds", help="fields: comma-separated errors relative to the range (default 1e-2,1e-3,1e-4)"
    )
    q.add_argument(
        "--visqol",
        action="store_true",
        help="audio: measure ViSQOL too, slowly (pip install 'visqol-python[lattice]')",
    )
    q.add_argument("--bitrates", help="audio: comma-separated kbit/s (default 6 to 128)")
    q.add_argument("--qualities", default="8,18,28,38,48,58,68,78,88", help="comma-separated 1..100")
    q.add_argument("--effort", type=int, default=None)
    q.add_argument("--limit", type=int, metavar="N", help="only N images, evenly spread")
    q.add_argument("--device", default="auto")
    q.add_argument(
        "--reference", metavar="CSV", help="published curves to draw along (codec,rate_bpp,psnr_db,ms_ssim)"
    )
    q.add_argument("-o", "--output", metavar="DIR", help="folder for the JSON files and the plot")
    q.set_defaults(run=evaluate)

    q = sub.add_parser(
        "bench",
        help="time encoding and decoding, with the split by stage",
        description="Time encoding and decoding; medians.",
    )
    q.add_argument("--codec", default="image", help="image or field (default image)")
    q.add_argument(
        "--data",
        metavar="DIR",
        help="folder of images, or of .npy files for --codec field; default: one that the command makes",
    )
    q.add_argument(
        "--rel-error",
        type=float,
        default=1e-3,
        metavar="X",
        help="fields: error relative to the range (default 1e-3)",
    )
    q.add_argument("--device", default="auto")
    q.add_argument("--batch", type=int, default=4)
    q.add_argument("--quality", type=int, default=50)
    q.add_argument("--limit", type=int, default=8, metavar="N", help="images or fields (default 8)")
    q.add_argument("--repeat", type=int, default=5)
    q.add_argument("--json", action="store_true")
    q.set_defaults(run=bench)
    return p
