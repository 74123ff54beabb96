"""Every released set of weights and tables, side by side, found by the digest that files carry.

    tersor/weights/KIND-VERSION.safetensors, and the same in each folder that TERSOR_WEIGHTS names
      find(kind)          -> the version that encoders write with
      find(kind, digest)  -> the version that a file was written with

A released file is never changed: new weights get a new version beside the old ones, so that old files stay
readable. A version may stand on another of its kind (metadata key "base": the other's digest in hex) and then
holds only what is new: a net that was trained again does not repeat, or replace, the tables beside it.
"""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from tersor.errors import WeightsError

if TYPE_CHECKING:
    from numpy.typing import NDArray

DIGEST_BYTES = 4  # F: headers hold that many
DEFAULTS = MappingProxyType(
    {"image": "image-2", "audio": "audio-2", "magnitude": "magnitude-1", "video": "video-1"}
)
FOLDERS_VARIABLE = "TERSOR_WEIGHTS"
SUFFIX = ".safetensors"


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """A weights file that is installed.

    Attributes:
        name: "image-1": its kind, and its version.
        path: of the safetensors file.
        digest: first 4 bytes of the file's SHA-256; files carry it.
    """

    name: str
    path: Path
    digest: bytes

    @property
    def version(self) -> int:
        """The number in the name; 0 if it has none."""
        number = self.name.rpartition("-")[2]
        return int(number) if number.isdigit() else 0

    def read(self) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
        """Tensors and metadata.

        Raises:
            WeightsError: a damaged file.
        """
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(self.path, "np") as f:
                return {k: f.get_tensor(k) for k in f.keys()}, f.metadata() or {}  # noqa: SIM118
        except (SafetensorError, OSError) as e:
            raise WeightsError(f"{self.path}: not a weights file, or damaged ({e}); reinstall tersor") from e


def find(kind: str, digest: bytes | None = None) -> Release:
    """The installed version of a digest, or the one that encoders use.

    Args:
        kind: "image", "audio", "magnitude"; the name of a file before its version.
        digest: 4 bytes, as in a file's header.

    Raises:
        WeightsError: it is not installed.
    """
    if digest is None:
        return _default(kind)
    for path in _versions(kind):
        if (release := release_at(path)).digest == digest:
            return release
    have = ", ".join(f"{r.name} ({r.digest.hex()})" for r in map(release_at, _versions(kind)))
    raise WeightsError(
        f"the file was written with {kind} weights {digest.hex()}; installed are {have or 'none'}: "
        f"install the tersor that wrote it, or name the folder of its weights in {FOLDERS_VARIABLE}"
    )


def _default(kind: str) -> Release:
    if kind not in DEFAULTS:
        raise WeightsError(f"no weights are called '{kind}'; there are {', '.join(DEFAULTS)}")
    for folder in folders():
        if (path := folder / f"{DEFAULTS[kind]}{SUFFIX}").is_file():
            return release_at(path)
    raise WeightsError(
        f"the weights '{DEFAULTS[kind]}' are not installed "
        f"(looked in {', '.join(map(str, folders()))}); reinstall tersor"
    )


def folders() -> list[Path]:
    """Where weights are looked for: the package's own folder first."""
    named = os.environ.get(FOLDERS_VARIABLE, "").split(os.pathsep)
    return [Path(__file__).parent, *(Path(f) for f in named if f)]


def _versions(kind: str) -> Iterator[Path]:
    """Files of a kind, each folder's newest first; the digests of older ones are not even computed if that is
    what was asked for.
    """
    for folder in folders():
        numbered = {p.stem.rpartition("-")[2]: p for p in folder.glob(f"{kind}-*{SUFFIX}")}
        versions = {int(n): p for n, p in numbered.items() if n.isdigit() and p.stem == f"{kind}-{n}"}
        yield from (versions[n] for n in sorted(versions, reverse=True))


@functools.cache
def release_at(path: Path) -> Release:
    """The weights file at a path.

    Raises:
        WeightsError: it cannot be read.
    """
    try:
        digest = hashlib.sha256(path.read_bytes()).digest()[:DIGEST_BYTES]
    except OSError as e:
        raise WeightsError(f"{path}: cannot be read ({e.strerror}); reinstall tersor") from e
    return Release(name=path.stem, path=path, digest=digest)


@functools.cache
def load(release: Release) -> tuple[dict[str, NDArray[Any]], bytes]:
    """Tensors with those of the base, and the digest of what lies lowest: the base's, or its own. Read once;
    do not change them.

    Raises:
        WeightsError: a damaged file, or a base that is not installed or has a base itself.
    """
    tensors, metadata = release.read()
    if "base" not in metadata:
        return tensors, release.digest
    try:
        base = find(release.name.rpartition("-")[0], bytes.fromhex(metadata["base"]))
    except ValueError as e:
        raise WeightsError(
            f"{release.path}: its base is {metadata['base']!r}, not a digest; reinstall tersor"
        ) from e
    below, deeper = base.read()
    if "base" in deeper:
        raise WeightsError(f"{release.path}: its base {base.name} has a base itself; reinstall tersor")
    return below | tensors, base.digest
