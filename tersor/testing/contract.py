"""The contract of a codec as pytest tests: derive from `CodecContract` and say what to code.

class TestMine(CodecContract):
    def make_codec(self): return MyCodec("cpu")
    def signals(self): return [...]
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tersor.arrays import Numbers
from tersor.container import Reader
from tersor.errors import BitstreamError, SignalError
from tersor.registry import AnyCodec


def levels_apart(x: Numbers, reference: Numbers) -> NDArray[np.float64]:
    """How far samples are apart, in 255ths of what integers of the type hold, or of the range that floats of
    the reference have. What is not finite must be the same: anything else is infinitely far.
    """
    known = np.isfinite(reference)
    if reference.dtype.kind == "f":
        whole = float(np.ptp(reference[known].astype(np.float64))) if known.any() else 0.0
    else:
        whole = float(np.iinfo(reference.dtype.str).max) if reference.dtype.kind in "iu" else 1.0
    with np.errstate(invalid="ignore"):
        apart = np.abs(x.astype(np.float64) - reference.astype(np.float64)) * (255 / (whole or 1.0))
    same = known | (x == reference) | (np.isnan(x) & np.isnan(reference)) if not known.all() else known
    return np.where(same, np.where(known, apart, 0.0), np.inf)


class CodecContract(ABC):
    """Batches, determinism, damage, options.

    Attributes:
        encode_options: for every call.
        mean_error_levels: how far decoded samples may be off in the mean, in 255ths of the range.
    """

    encode_options: dict[str, object] = {}  # noqa: RUF012
    mean_error_levels = 16.0

    @abstractmethod
    def make_codec(self) -> AnyCodec:
        """A codec on the CPU."""

    @abstractmethod
    def signals(self) -> Sequence[Any]:
        """At least two signals that are not equal."""

    @pytest.fixture
    def codec(self) -> AnyCodec:
        return self.make_codec()

    @pytest.fixture
    def files(self, codec: AnyCodec) -> list[bytes]:
        return list(codec.encode_batch(self.signals(), **self.encode_options))

    def test_shape_and_type_come_back(self, codec: AnyCodec, files: list[bytes]) -> None:
        for signal, decoded in zip(self.signals(), codec.decode_batch(files), strict=True):
            out = np.asarray(decoded)
            assert out.shape == signal.shape
            assert out.dtype == signal.dtype
            assert np.mean(levels_apart(out, np.asarray(signal))) < self.mean_error_levels

    def test_a_batch_is_its_items(self, codec: AnyCodec, files: list[bytes]) -> None:
        singly = [np.asarray(codec.decode_batch([f])[0]) for f in files]
        for one, together in zip(singly, codec.decode_batch(files), strict=True):
            assert np.max(levels_apart(np.asarray(together), one), initial=0) <= 1

    def test_empty_batch(self, codec: AnyCodec) -> None:
        assert codec.encode_batch([]) == []
        assert codec.decode_batch([]) == []

    def test_wire_id_is_in_the_file(self, codec: AnyCodec, files: list[bytes]) -> None:
        assert all(Reader(f).codec == codec.wire_id for f in files)

    def test_every_truncation_is_an_error(self, codec: AnyCodec, files: list[bytes]) -> None:
        file = files[0]
        for n in {*range(min(64, len(file))), *range(0, len(file), max(1, len(file) // 40))}:
            with pytest.raises(BitstreamError):
                codec.decode_batch([file[:n]])

    def test_every_flipped_bit_is_an_error(self, codec: AnyCodec, files: list[bytes]) -> None:
        file, rng = files[0], random.Random(0)
        for at in [*range(8 * min(48, len(file))), *(rng.randrange(8 * len(file)) for _ in range(100))]:
            damaged = bytearray(file)
            damaged[at // 8] ^= 1 << at % 8
            with pytest.raises(BitstreamError):
                codec.decode_batch([bytes(damaged)])

    def test_appended_bytes_are_an_error(self, codec: AnyCodec, files: list[bytes]) -> None:
        with pytest.raises(BitstreamError, match="after the last chunk"):
            codec.decode_batch([files[0] + b"\0"])

    def test_unknown_signals_are_an_error(self, codec: AnyCodec) -> None:
        with pytest.raises(SignalError):
            codec.encode_batch([object()])
