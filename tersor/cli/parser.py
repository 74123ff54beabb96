"""The arguments of every command."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from tersor import __version__
from tersor.cli.arguments import add_options, declared
from tersor.cli.decode import decode
from tersor.cli.encode import encode
from tersor.cli.evaluate import bench, evaluate
from tersor.cli.inspect import info, list_codecs, verify
from tersor.cli.warm_up import warm_up


def efforts(text: str) -> int | list[int]:
    """ "5" or "3,5"."""
    numbers = [int(part) for part in text.split(",")]
    return numbers[0] if len(numbers) == 1 else numbers


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
        q.add_argument("--threads", type=int, metavar="N", help="at work at a time (default all cores)")

    q = files("encode", "encode images, arrays, sound and video to .tsr files", encode)
    writing(q)
    q.add_argument(
        "--codec",
        help="see 'tersor list' (default: by the suffix: field for .npy, .nc, .h5, .zarr and the like, "
        "audio for .wav, .flac and the like, video for .mp4, .mkv and the like, image for the rest); "
        "'best': images, by image or image-overfit, whichever file is smaller at equal PSNR",
    )
    add_options(q, declared("ENCODE"))
    q.add_argument(
        "--variables",
        metavar="A,B",
        help="fields: only these variables of a file, and their coordinates (default all)",
    )
    q.add_argument(
        "--salvage",
        action="store_true",
        help="sound: code what is there of a damaged file, with silence for the rest, and say what was lost",
    )
    q.add_argument(
        "--pages",
        metavar="N|A-B|all",
        help="pictures of several pages or frames: these, from 1, each to a file of its own",
    )
    q.add_argument(
        "--strip",
        action="store_true",
        help="images: leave out EXIF, XMP, text and the like, but for what says how colours look",
    )
    q.add_argument("--batch", type=int, metavar="N", help="tiles that share a batch (default 4)")

    q = files("decode", "decode .tsr files", decode)
    writing(q)
    add_options(q, declared("DECODE"))
    q.add_argument(
        "--crf", type=int, metavar="0..51", help="video to .mp4: x264's constant rate factor (default 18)"
    )
    q.add_argument(
        "--strip",
        action="store_true",
        help="images: leave out EXIF, XMP, text and the like, but for what says how colours look",
    )
    q.add_argument("--batch", type=int, metavar="N", help="tiles that share a batch (default 4)")

    q = files("info", "show what a .tsr file holds, without decoding", info)
    q.add_argument("--json", action="store_true", help="one JSON object a line")
    q = files("verify", "check every checksum of .tsr files, without a model", verify)
    q.add_argument("--json", action="store_true", help="one JSON object a line")
    q = sub.add_parser("list", help="list the codecs", description="List the codecs.")
    q.add_argument("--json", action="store_true", help="one JSON object a line")
    q.set_defaults(run=list_codecs)

    q = sub.add_parser(
        "warm-up",
        help="compile the loops of codecs now, for this processor, and keep them",
        description="Compile the loops of codecs now and keep them, so that no first call waits. "
        "Nothing is left to do where machine code came with tersor.",
    )
    q.add_argument("codecs", nargs="*", metavar="CODEC", help="default: all that have compiled loops")
    q.add_argument("--json", action="store_true", help="one JSON object a line")
    q.set_defaults(run=warm_up)

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
        help="folder of images; of .npy files for --codec field, sounds for audio, videos for video, "
        ".safetensors files for tensor",
    )
    q.add_argument(
        "--anchors",
        help="comma-separated: jpeg, webp, avif, jxl (default jpeg,webp,avif); fields: sz3, sperr, zfp; "
        "audio: opus, mp3, aac (all); video: x264, x265, svtav1, vp9 (all); "
        "tensor: zstd, zipnn, pcodec (all)",
    )
    q.add_argument(
        "--bounds", help="fields: comma-separated errors relative to the range (default 1e-2,1e-3,1e-4)"
    )
    q.add_argument(
        "--judges",
        help="audio: comma-separated, of pesq, visqol speech, visqol audio, stoi, mel, si_sdr_db, dnsmos, "
        "voice (all that are installed; pip install 'tersor[judges]' for the rest)",
    )
    q.add_argument("--bitrates", help="audio: comma-separated kbit/s (default 6 to 128)")
    q.add_argument("--qualities", help="comma-separated 1..100 (default 8,18,...,88; video: 30,45,60,75)")
    q.add_argument("--modes", help="video: low-delay, random-access (default both)")
    q.add_argument("--frames", type=int, metavar="N", help="video: the first N frames of a clip (default 32)")
    q.add_argument(
        "--effort",
        type=efforts,
        default=None,
        metavar="N|N,N",
        help="of the encoder; of images several: a curve each",
    )
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
    q.add_argument("--codec", default="image", help="image, field, audio or video (default image)")
    q.add_argument(
        "--data",
        metavar="DIR",
        help="folder of images, of .npy files, sounds or videos; default: some that the command makes",
    )
    q.add_argument(
        "--rel-error",
        type=float,
        default=1e-3,
        metavar="X",
        help="fields: error relative to the range (default 1e-3)",
    )
    q.add_argument("--effort", type=int, default=None, help="fields: 1 to 9")
    q.add_argument("--device", default="auto")
    q.add_argument("--batch", type=int, default=4)
    q.add_argument("--quality", type=int, default=50)
    q.add_argument("--limit", type=int, default=8, metavar="N", help="images, fields or sounds (default 8)")
    q.add_argument("--repeat", type=int, default=5)
    q.add_argument("--json", action="store_true")
    q.set_defaults(run=bench)
    return p
