"""What all codecs in chunks share: opening files, options, batches, look-ahead, progress, salvage, streaming.

    encode   signal --chunks_of--> Coded: header, metadata, payloads one by one --> container
    decode   file --header_of, assembly--> Assembly: which chunks a part needs
             chunks of all files --groups--> decode_chunks (in threads) --> place or, damaged, fill
             complete(part) --> piece(part): finished samples, in order --> keep, finish: the signal

A part is what can be given away once its chunks are there: a row of tiles, a slab of blocks, a segment of
sound. A codec says what a chunk and a part are; the whole signal, a region of it, and its pieces one after
the other (`open`, in memory that depends on the part) are the same walk over the parts.
"""

from __future__ import annotations

import contextlib
import itertools
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO, ClassVar, Generic, TypeVar, cast

from tersor import container, registry
from tersor.arrays import Numbers
from tersor.codecs.assembly import A, Coded, Job, Opened, S, Source, reading
from tersor.codecs.options import Options
from tersor.codecs.parallel import Progress, Team, shared_team, torch_threads
from tersor.container import Reader
from tersor.errors import BitstreamError, SignalError

E = TypeVar("E")  # the TypedDict of options of encode
D = TypeVar("D")  # of decode


class ChunkCodec(ABC, Generic[S, A, E, D]):
    """A codec whose files are made of chunks that decode alone.

    Args:
        device: "auto" or "cpu"; codecs that can do more say so in `pick_device`.
        batch: chunks that are decoded together, where a codec does so; its own number if None.
        threads: at work at a time; all cores if None, one in a worker process.

    Raises:
        SignalError: a batch or number of threads below 1, or a device that the codec has not.
    """

    name: ClassVar[str]
    wire_id: ClassVar[int]
    encode_options: Options[E]
    decode_options: Options[D]
    usual_batch: ClassVar[int] = 1
    opened_type: type[Opened[A]] = Opened
    torch_in_team: ClassVar[bool] = False  # whether torch runs inside the work that threads share

    def __init__(self, device: str = "auto", batch: int | None = None, threads: int | None = None) -> None:
        self.device = self.pick_device(device)
        self.batch = self.usual_batch if batch is None else batch
        if self.batch < 1:
            raise SignalError(f"batch is {batch}; it must be at least 1")
        self.threads = threads
        self._own_team = None if threads is None else Team(threads)

    @property
    def team(self) -> Team:
        """Who shares the work; of this process, where a codec went to another with a fork."""
        return self._own_team or shared_team()

    def pick_device(self, name: str) -> str:
        if name not in ("auto", "cpu"):
            raise SignalError(
                f"the {self.name} codec runs on the CPU, not on '{name}'; use device auto or cpu"
            )
        return "cpu"

    # What a codec is

    @abstractmethod
    def signal_of(self, x: object, options: E) -> Any:
        """Anything people hold -> what `chunks_of` takes: the signal, or a source that gives it bit by bit.

        Raises:
            SignalError: neither.
        """

    @abstractmethod
    def chunks_of(self, signal: Any, options: E, progress: Progress | None) -> Coded:
        """A signal -> a file, whose payloads are made as they are asked for."""

    @abstractmethod
    def assembly(self, reader: Reader, options: D) -> A:
        """An opened file of this codec, its header read and its weights or tables found, that has placed
        nothing.

        Raises:
            BitstreamError: a header that is not valid. WeightsError: tables that are not installed.
            SignalError: a region, slice or span that does not lie inside.
        """

    @abstractmethod
    def decode_chunks(self, jobs: Sequence[Job[A]]) -> Sequence[object]:
        """What `Assembly.place` takes, of each of the jobs of one group. Runs in a thread of the team."""

    def groups(self, jobs: Sequence[Job[A]]) -> list[list[Job[A]]]:
        """Chunks of a part, of all files, that are decoded together; each alone if a codec does not batch."""
        return [[j] for j in jobs]

    def complete(self, assemblies: Sequence[A], part: int) -> None:
        """All chunks of a part of all files are placed: do what needs them side by side."""

    def coded(self, signals: Iterable[object], options: E, progress: Progress | None) -> Iterable[Coded]:
        """A file of each signal; a codec that batches over signals overrides it."""
        for x in signals:
            yield self.chunks_of(self.signal_of(x, options), options, progress)

    # What all do alike

    def encode_batch(
        self, signals: Sequence[object], *, progress: Progress | None = None, **options: object
    ) -> list[bytes]:
        """One file for each signal.

        Args:
            signals: anything the codec's signal can be made of.
            progress: called with (done, in all).
            options: of the codec; see `encode_options`.

        Raises:
            SignalError: a signal or option that cannot be coded.
        """
        asked = self.encode_options.check(options)
        with self._torch():
            return [c.file(self.wire_id) for c in self.coded(signals, asked, progress)]

    def encode_to(
        self, file: BinaryIO, signal: Any, *, progress: Progress | None = None, **options: object
    ) -> int:
        """As `encode_batch`, one signal into a file that is empty, readable and seekable, one payload at a
        time in memory; -> its size.
        """
        asked = self.encode_options.check(options)
        with self._torch():
            c = self.chunks_of(self.signal_of(signal, asked), asked, progress)
            return container.write_to(file, self.wire_id, c.header, c.metadata, c.payloads)

    def decode_batch(
        self, files: Sequence[Source], *, progress: Progress | None = None, **options: object
    ) -> list[S]:
        """One signal for each file.

        Args:
            files: paths or bytes of .tsr files, or opened containers.
            progress: called with (chunks done, chunks in all).
            options: of the codec; see `decode_options`. With `salvage`, damaged chunks are filled and named
                in the signal's notes.

        Raises:
            BitstreamError: a damaged file, with the chunk named.
            WeightsError: weights or tables it was written with are not installed.
            SignalError: options that do not fit the file.
        """
        asked = self.decode_options.check(options)
        salvage = bool(cast(Mapping[str, object], asked).get("salvage"))
        with contextlib.ExitStack() as opened:
            readers = [opened.enter_context(reading(f, salvage)) for f in files]
            assemblies = [self.opened(r, asked, salvage) for r in readers]
            for a, part, piece in self._walk(assemblies, salvage, progress):
                a.keep(part, piece)
            return [a.finish() for a in assemblies]

    def open(self, file: bytes | Reader, *, progress: Progress | None = None, **options: object) -> Opened[A]:
        """A file to be decoded piece by piece; options as for `decode_batch`."""
        asked = self.decode_options.check(options)
        salvage = bool(cast(Mapping[str, object], asked).get("salvage"))
        reader = file if isinstance(file, Reader) else Reader(file, salvage=salvage)

        def walk(assembly: A) -> Iterator[Numbers]:
            return (piece for _, _, piece in self._walk([assembly], salvage, progress))

        return self.opened_type(lambda: self.opened(reader, asked, salvage), walk)

    def opened(self, reader: Reader, options: D, salvage: bool = False) -> A:
        """The assembly of a file, which must be of this codec and, but for salvage, of its full length."""
        check_codec(reader, self.wire_id)
        if reader.fault and not salvage:
            raise reader.fault
        return self.assembly(reader, options)

    def _walk(
        self, assemblies: Sequence[A], salvage: bool, progress: Progress | None
    ) -> Iterator[tuple[A, int, Numbers]]:
        """(file, part, its samples), part by part; chunks are decoded a few groups ahead."""
        asked: set[tuple[int, int]] = set()
        plan: list[list[list[Job[A]]]] = []
        for part in range(max((a.parts for a in assemblies), default=0)):
            wanted = {(k, i): a for k, a in enumerate(assemblies) if part < a.parts for i in a.needs(part)}
            plan.append(self.groups([Job(a, i) for (k, i), a in wanted.items() if (k, i) not in asked]))
            asked |= wanted.keys()
        done, total = 0, len(asked)
        results = self.team.ahead(lambda g: self.decoded(g, salvage), itertools.chain.from_iterable(plan))
        for part, groups in enumerate(plan):
            with self._torch():
                for group in groups:
                    for job, x in zip(group, next(results), strict=True):
                        if x is None:
                            job.of.damaged.append(job.chunk)
                            job.of.fill(job.chunk)
                        else:
                            job.of.place(job.chunk, x)
                    done += len(group)
                    if progress:
                        progress(done, total)
                self.complete(assemblies, part)
            for a in assemblies:
                if part < a.parts:
                    yield a, part, a.piece(part)

    def decoded(self, group: Sequence[Job[A]], salvage: bool = False) -> list[Any]:
        """Read and decode a group: what each chunk decodes to; None for one that is damaged."""
        read: dict[int, Job[A]] = {}
        for n, job in enumerate(group):
            try:
                read[n] = Job(job.of, job.chunk, job.of.reader.chunk(job.chunk))
            except BitstreamError as e:
                if not salvage:
                    raise e.at(job.of.called(job.chunk)) from e
        out: list[Any] = [None] * len(group)
        try:
            for n, x in zip(read, self.decode_chunks(list(read.values())) if read else [], strict=True):
                out[n] = x
        except BitstreamError:
            if not salvage:
                raise
            if len(group) > 1:
                return [x for job in group for x in self.decoded([job], salvage)]
        return out

    def _torch(self) -> contextlib.AbstractContextManager[None]:
        return torch_threads(1 if self.threads and self.torch_in_team else self.threads)


def check_codec(reader: Reader, wire_id: int) -> None:
    """Raises: BitstreamError if a file is of another codec than that of the wire id, naming both."""
    if reader.codec != wire_id:
        other, wanted = (registry.by_wire_id(w).name for w in (reader.codec, wire_id))
        raise BitstreamError(f"the file's codec is '{other}', not '{wanted}'; use tersor.decode")
