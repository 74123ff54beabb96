"""What adaptive coders know at the start, as learned in training and frozen: probabilities, counts and mixing
weights by name, and the tables of their arithmetic.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tersor import weights
from tersor.arrays import Numbers
from tersor.errors import WeightsError
from tersor.weights import DIGEST_BYTES, Release

ARITHMETIC = ("stretch", "squash", "reciprocals")
Model = tuple[Numbers, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AdaptiveTables:
    """The frozen state of a release; two are equal if they are the same object.

    Attributes:
        digest: first 4 bytes of the file's SHA-256; files carry it.
        base_digest: of the version that this one stands on, which holds all but the nets; or `digest`. What
            needs no net is written with it.
        tensors: as in the file: "NAME.probabilities", "NAME.counts", "NAME.weights", the tables of the
            arithmetic, and tables and nets of codecs.
    """

    digest: bytes
    base_digest: bytes
    tensors: dict[str, NDArray[Any]]

    def has(self, name: str) -> bool:
        """Whether there is a model of that name."""
        return f"{name}.probabilities" in self.tensors

    def model(self, name: str) -> Model:
        """A fresh model for one payload: (probabilities, counts, weights, stretch, squash, reciprocals); the
        first three change while it codes.
        """
        own = (self.tensors[f"{name}.{part}"].copy() for part in ("probabilities", "counts", "weights"))
        return (*own, *(self.tensors[part] for part in ARITHMETIC))


def adaptive_tables(digest: bytes | None = None) -> AdaptiveTables:
    """The tables of a digest, or those that encoders use; read once.

    Raises:
        WeightsError: not installed, or damaged.
    """
    return _read(weights.find("audio", digest))


@functools.cache
def _read(release: Release) -> AdaptiveTables:
    tensors, base_digest = weights.load(release)
    return tables_from(tensors, release.digest, base_digest)


def tables_from(
    tensors: dict[str, NDArray[Any]],
    digest: bytes = bytes(DIGEST_BYTES),
    base_digest: bytes = bytes(DIGEST_BYTES),
) -> AdaptiveTables:
    """Check that what every model needs is there.

    Raises:
        WeightsError: a tensor is missing.
    """
    if missing := [name for name in ARITHMETIC if name not in tensors]:
        raise WeightsError(f"the tables lack {', '.join(missing)}; reinstall tersor")
    return AdaptiveTables(digest=digest, base_digest=base_digest, tensors=tensors)


def arithmetic_tables() -> dict[str, NDArray[np.int32]]:
    """Stretch (logit of a 12-bit probability, Q8), squash (its inverse, 16 bits) and what a slot with n bits
    behind it moves by; for the training tools only.
    """
    x = np.arange(-2048, 2048) / 256.0
    p = (np.arange(4096) + 0.5) / 4096
    return {
        "stretch": np.clip(np.round(256 * np.log(p / (1 - p))), -2047, 2047).astype(np.int32),
        "squash": np.clip(np.round(65536 / (1 + np.exp(-x))), 16, 65520).astype(np.int32),
        "reciprocals": np.round(65536 / (np.arange(256) + 1.6)).astype(np.int32),
    }
