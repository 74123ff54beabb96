"""The machinery of codecs/base.py, shown with a toy: rows of numbers, each a zlib stream."""

from __future__ import annotations

import io
import threading
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, TypedDict

import numpy as np
import pytest

import tersor
from tersor import container
from tersor.codecs import parallel
from tersor.codecs.assembly import Assembly, Coded, Job
from tersor.codecs.base import ChunkCodec
from tersor.codecs.options import DecodeOptions, Option, Options
from tersor.codecs.parallel import Progress
from tersor.container import Reader
from tersor.errors import BitstreamError, ChecksumError, SignalError

WIRE_ID = 1  # of a codec that is installed, so that foreign files have a name


class ToyOptions(TypedDict, total=False):
    level: Annotated[int | None, Option("effort of zlib", default=6, low=0, high=9)]
    fast: Annotated[bool | None, Option("not well", one_of="way")]
    slow: Annotated[bool | None, Option("well", one_of="way")]
    weight: Annotated[float | None, Option("of it", above=0, below=1, unit="kg")]


class Rows(Assembly[np.ndarray]):
    """Two rows a part."""

    def __init__(self, reader: Reader) -> None:
        rows, self.width = reader.header
        super().__init__(reader, -(-rows // 2), (rows, self.width))
        self.rows, self.there = rows, {}

    def needs(self, part: int) -> range:
        return range(2 * part, min(self.rows, 2 * part + 2))

    def place(self, chunk: int, x: np.ndarray) -> None:
        self.there[chunk] = x

    def fill(self, chunk: int) -> None:
        self.there[chunk] = np.zeros(self.width, np.uint8)

    def piece(self, part: int) -> np.ndarray:
        return np.stack([self.there.pop(i) for i in self.needs(part)])

    def finish(self) -> np.ndarray:
        return self.whole()

    def called(self, chunk: int) -> str:
        return f"row {chunk}"


class Toy(ChunkCodec[np.ndarray, Rows, ToyOptions, DecodeOptions]):
    name, wire_id = "toy", WIRE_ID
    encode_options, decode_options = Options("toy", ToyOptions), Options("toy", DecodeOptions)
    together = 1

    def signal_of(self, x: Any, options: ToyOptions) -> np.ndarray:
        return np.asarray(x, np.uint8)

    def chunks_of(self, signal: np.ndarray, options: ToyOptions, progress: Progress | None) -> Coded:
        level = options["level"] or 0
        payloads = self.team.ahead(lambda row: zlib.compress(row.tobytes(), level), signal)
        return Coded(header=lambda: bytes(signal.shape), metadata={}, payloads=payloads)

    def assembly(self, reader: Reader, options: DecodeOptions) -> Rows:
        return Rows(reader)

    def groups(self, jobs: Sequence[Job[Rows]]) -> list[list[Job[Rows]]]:
        return [list(jobs[i : i + self.batch]) for i in range(0, len(jobs), self.batch)]

    def decode_chunks(self, jobs: Sequence[Job[Rows]]) -> list[np.ndarray]:
        self.together = max(self.together, len(jobs))
        try:
            return [np.frombuffer(zlib.decompress(j.payload), np.uint8) for j in jobs]
        except zlib.error as e:
            raise BitstreamError(f"no zlib stream ({e})") from e


PICTURE = np.arange(7 * 5, dtype=np.uint8).reshape(7, 5)


def damaged(file: bytes, chunk: int) -> bytes:
    out = bytearray(file)
    out[Reader(file)._spans[chunk].offset] ^= 0xFF
    return bytes(out)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_there_and_back_in_any_number_of_threads(threads: int, tmp_path: Path) -> None:
    codec, seen = Toy(threads=threads), []
    (file,) = codec.encode_batch([PICTURE])
    (tmp_path / "x.tsr").write_bytes(file)
    sources = [file, Reader(file), tmp_path / "x.tsr", str(tmp_path / "x.tsr")]
    for out in codec.decode_batch(sources, progress=lambda *now: seen.append(now)):
        np.testing.assert_array_equal(out, PICTURE)
    assert seen[-1] == (28, 28)
    whole = io.BytesIO()
    assert codec.encode_to(whole, PICTURE) == len(file)
    assert whole.getvalue() == file


def test_chunks_of_several_files_share_a_batch() -> None:
    codec = Toy(batch=6)
    codec.decode_batch(codec.encode_batch([PICTURE, PICTURE + 1, PICTURE[:3]]))
    assert codec.together == 6


def test_pieces_are_given_one_by_one_and_again() -> None:
    codec = Toy()
    opened = codec.open(codec.encode_batch([PICTURE])[0])
    for _ in range(2):
        pieces = list(opened.blocks())
        assert [len(p) for p in pieces] == [2, 2, 2, 1]
        np.testing.assert_array_equal(np.concatenate(pieces), PICTURE)


def test_salvage_is_the_same_for_every_codec() -> None:
    codec = Toy(batch=3)
    file = damaged(codec.encode_batch([PICTURE])[0], 4)
    with pytest.raises(ChecksumError, match="row 4.*chunk 4.*salvage") as caught:
        codec.decode_batch([file])
    assert (caught.value.chunk, caught.value.section) == (4, "chunk 4")
    assert caught.value.offset == Reader(file)._spans[4].offset
    opened = codec.open(file, salvage=True)
    rows = np.concatenate(list(opened.blocks()))
    assert opened.notes == ("row 4 is damaged and was filled",)
    np.testing.assert_array_equal(np.delete(rows, 4, 0), np.delete(PICTURE, 4, 0))
    assert not rows[4].any()
    np.testing.assert_array_equal(codec.decode_batch([file], salvage=True)[0], rows)


def test_what_has_a_checksum_but_no_sense_is_salvaged_too() -> None:
    codec = Toy(batch=3)
    r = Reader(codec.encode_batch([PICTURE])[0])
    chunks = [r.chunk(i) for i in range(7)]
    file = container.write(WIRE_ID, r.header, {}, [*chunks[:2], b"nonsense", *chunks[3:]])
    with pytest.raises(BitstreamError, match="no zlib stream"):
        codec.decode_batch([file])
    rows = codec.decode_batch([file], salvage=True)[0]
    assert [i for i in range(7) if not rows[i].any()] == [2]


def test_cut_files_are_salvaged_and_only_then() -> None:
    codec = Toy()
    cut = codec.encode_batch([PICTURE])[0][:-3]
    for source in (cut, Reader(cut, salvage=True)):
        with pytest.raises(BitstreamError, match="cut short"):
            codec.decode_batch([source])
        np.testing.assert_array_equal(codec.decode_batch([source], salvage=True)[0][:6], PICTURE[:6])


def test_a_foreign_file_is_named_for_what_it_is() -> None:
    with pytest.raises(BitstreamError, match="codec is 'field', not 'image'; use tersor.decode"):
        Toy().decode_batch([container.write(3, bytes([1, 1]), {}, [b""])])


def test_missing_files_are_signal_errors_and_file_not_found(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere") as caught:
        Toy().decode_batch([tmp_path / "nowhere.tsr"])
    assert isinstance(caught.value, SignalError)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"levle": 5}, "has no option levle; it has level, fast, slow, weight"),
        ({"level": 10}, "level is 10; allowed are whole numbers from 0 to 9"),
        ({"level": 1.5}, "level is 1.5"),
        ({"level": True}, "level is True"),
        ({"fast": True, "slow": True}, "fast and slow exclude each other"),
        ({"fast": "yes"}, "allowed are True and False"),
        ({"weight": 1}, "weight is 1; allowed are numbers above 0 and below 1 kg"),
        ({"weight": float("nan")}, "weight is nan"),
    ],
)
def test_options_are_checked_with_one_form_of_message(options: dict[str, Any], words: str) -> None:
    with pytest.raises(SignalError, match=words):
        Toy().encode_batch([PICTURE], **options)


def test_options_not_given_are_the_defaults() -> None:
    declared = Options("toy", ToyOptions)
    assert declared.check({"level": None, "slow": False}) == {
        "level": 6,
        "fast": None,
        "slow": False,
        "weight": None,
    }
    assert declared.asked(declared.check({"slow": True}), "way") == ("slow", True)
    assert declared.check({"level": np.int64(3), "weight": np.float32(0.5)})["level"] == 3


def test_nested_work_never_has_more_threads_than_asked_for() -> None:
    team, lock, names = parallel.Team(3), threading.Lock(), set()
    at_work, most = 0, 0

    def leaf(_: int) -> None:
        nonlocal at_work, most
        with lock:
            names.add(threading.current_thread().name)
            at_work += 1
            most = max(most, at_work)
        threading.Event().wait(0.002)
        with lock:
            at_work -= 1

    def branch(_: int) -> None:
        parallel.side_by_side(lambda _: parallel.in_parts(lambda a, b: leaf(a), 9, 1 << 20), range(3))

    list(team.ahead(branch, range(12)))
    assert most <= 3
    assert len(names) <= 3
    team.each(branch, range(4))
    assert most <= 3


def test_worker_processes_have_one_thread(tmp_path: Path) -> None:
    import multiprocessing

    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(parallel.default_threads) == 1
    assert parallel.default_threads() >= 1


@pytest.mark.parametrize("threads", [0, -1, 1.5])
def test_threads_below_one_are_an_error(threads: int) -> None:
    with pytest.raises(SignalError, match="threads is"):
        Toy(threads=threads)


def test_errors_of_work_are_raised_and_stop_the_rest() -> None:
    done = []

    def work(i: int) -> int:
        if i == 2:
            raise SignalError("two")
        done.append(i)
        return i

    with pytest.raises(SignalError, match="two"):
        list(parallel.Team(2).ahead(work, range(1000)))
    assert len(done) < 20
    with pytest.raises(SignalError, match="two"):
        parallel.Team(2).each(work, range(5))


def test_tersor_error_is_the_base() -> None:
    assert issubclass(BitstreamError, tersor.TersorError)
