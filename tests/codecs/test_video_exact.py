"""The encoder gives the same bytes whatever the number of threads, and the golden files reach what they are
for; that they decode to the same planes everywhere is tests/test_golden.py's.
"""

from __future__ import annotations

from pathlib import Path

from tersor.codecs.video import group
from tersor.codecs.video.codec import VideoCodec
from tersor.codecs.video.state import Codec
from tersor.testing.golden import FAMILIES, video_cases

ROOT = Path(__file__).parents[1] / "golden"


def test_the_encoder_gives_the_same_bytes_twice_and_with_one_thread() -> None:
    _, video, options = video_cases()["groups-q70"]
    files = {VideoCodec(threads=n).encode_batch([video], **options)[0] for n in (1, 2, 2)}
    assert len(files) == 1


def test_golden_files_reach_every_stage(monkeypatch) -> None:
    """Blocks of both kinds, two references, split transforms, filtered areas of luma and of chroma."""
    seen: set[str] = set()
    finish = group.finish_frame

    def looked(c: Codec) -> None:
        from tersor.codecs.video.state import INTER, INTRA, MERGE, MODE, REF0, SKIP, SPLIT

        finish(c)
        cells = c.grid[1:-1, 1:-1]
        inter = cells[..., MODE] == INTER
        seen.update(name for name, there in {
            "intra": cells[..., MODE] == INTRA,
            "vectors": inter & (cells[..., MERGE] < 0),
            "neighbours' motion": inter & (cells[..., MERGE] >= 0),
            "skipped": cells[..., SKIP] > 0,
            "two references": inter & (cells[..., REF0 + 1] >= 0),
            "split transforms": cells[..., SPLIT] > 0,
            "filtered luma": c.filtered[0] > 0,
            "filtered chroma": c.filtered[1] > 0,
        }.items() if there.any())  # fmt: skip

    monkeypatch.setattr(group, "finish_frame", looked)
    for path in FAMILIES["video"].files(ROOT):
        VideoCodec(threads=1).decode_batch([path.read_bytes()])
    assert len(seen) == 8, sorted(seen)
