"""Released weights of the image codec: a safetensors file each, found by digest; it may stand on another.

Transforms are stored in float16, the prior as the integers it runs on, gains and linear transforms in
float32, probability tables as counts. The JSON card in the file's metadata says what it was trained on. A
released file is never changed: new weights get a new id.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from tersor import weights
from tersor.arrays import Integers, Numbers
from tersor.entropy.tables import FrozenTables
from tersor.errors import WeightsError
from tersor.models.image import ImageModel, ImageModelConfig
from tersor.models.prior import N_QUALITIES
from tersor.weights import Release, release_at

Z_BANDS = 4  # F
FULL_PRECISION = ("_transform", "points", "table", "z_log_scale", "z_mean")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleasedImageModel:
    """A model ready to code: eval mode, integers checked.

    Attributes:
        name: of the weights, "image-1".
        version: 1; headers carry it. 0 for weights that are none of ours.
        digest: first 4 bytes of the file's SHA-256; files carry it.
        model: on `device`.
        y_tables: one table a scale level.
        z_tables: one table a hyper-channel, for each of 4 bands of quality.
        card: what the weights were trained on.
    """

    name: str
    version: int = 0
    digest: bytes
    model: ImageModel
    y_tables: FrozenTables
    z_tables: FrozenTables
    card: dict[str, object]
    device: torch.device


def z_band(quality: int) -> int:
    """Which quarter of the qualities 1..100 has its own z tables."""
    return (quality - 1) * Z_BANDS // N_QUALITIES


def load_image_model(digest: bytes | None, device: str) -> ReleasedImageModel:
    """The released model of a digest, or the one that encoders use, on a device; loaded once.

    Raises:
        WeightsError: not installed, or damaged.
    """
    return _load(weights.find("image", digest), device)


@functools.lru_cache(maxsize=8)
def _load(release: Release, device: str) -> ReleasedImageModel:
    return load_released(release.path, device)


def load_released(path: Path, device: str) -> ReleasedImageModel:
    """Read one weights file."""
    tensors, card, config = _read(path)
    with torch.inference_mode(False):  # kept for later calls, which may want gradients
        model = ImageModel(config)
        _fill(model, tensors, path)
        model.eval().requires_grad_(False)
        model = model.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    tables = [
        FrozenTables(*(_array(tensors, f"tables.{k}.{part}", path) for part in ("counts", "radii")))
        for k in ("y", "z")
    ]
    release = release_at(path)
    return ReleasedImageModel(
        name=release.name,
        version=release.version,
        digest=release.digest,
        model=model,
        y_tables=tables[0],
        z_tables=tables[1],
        card=card,
        device=torch.device(device),
    )


def load_training_weights(model: ImageModel, path: Path) -> None:
    """Start training from a released file of the same configuration, or one with fewer filter blocks: a new
    block does nothing at first.
    """
    tensors, _, config = _read(path)
    more = range(config.filter_blocks, model.config.filter_blocks)
    tensors |= {
        k: v for k, v in model.state_dict().items() if any(k.startswith(f"filter.blocks.{n}.") for n in more)
    }
    if replace(config, filter_blocks=config.filter_blocks + len(more)) != model.config:
        raise WeightsError(
            f"{path}: its model is {config}, the one to train {model.config}; "
            "start from weights of the same configuration"
        )
    _fill(model, tensors, path)


def save_released(
    path: Path,
    model: ImageModel,
    y_tables: tuple[Numbers, Numbers],
    z_tables: tuple[Numbers, Numbers],
    card: dict[str, object],
) -> None:
    """Write a frozen model (its prior has run `freeze`); tables are (counts, radii)."""
    frozen = _exact_layers(model)
    out: dict[str, Tensor] = {}
    for key, value in model.state_dict().items():
        layer, _, leaf = key.rpartition(".")
        if layer in frozen and leaf in ("weight", "bias"):
            continue
        keep = not value.is_floating_point() or key.endswith(FULL_PRECISION) or value.dim() == 1
        out[key] = (value if keep else value.half()).contiguous()
    for name, (counts, radii) in (("y", y_tables), ("z", z_tables)):
        out[f"tables.{name}.counts"] = torch.from_numpy(np.asarray(counts, np.int32))
        out[f"tables.{name}.radii"] = torch.from_numpy(np.asarray(radii, np.int32))
    save_file(out, path, {"config": json.dumps(model.config.to_dict()), "card": json.dumps(card)})


def _exact_layers(model: ImageModel) -> set[str]:
    return {key.removesuffix(".weight_int") for key in model.state_dict() if key.endswith(".weight_int")}


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, object], ImageModelConfig]:
    release = release_at(path)
    tensors, _ = weights.load(release)
    try:
        _, metadata = release.read()
        config = ImageModelConfig.from_dict(json.loads(metadata["config"]))
        card = json.loads(metadata["card"])
        return {k: torch.from_numpy(v.copy()) for k, v in tensors.items()}, card, config
    except (KeyError, TypeError, json.JSONDecodeError) as e:
        raise WeightsError(f"{path}: not a tersor weights file, or damaged ({e}); reinstall tersor") from e


def _fill(model: ImageModel, tensors: dict[str, Tensor], path: Path) -> None:
    state = model.state_dict()
    derived = {f"{layer}.{leaf}" for layer in _exact_layers(model) for leaf in ("weight", "bias")}
    for key, target in state.items():
        if key in derived:
            continue
        if key not in tensors or tensors[key].shape != target.shape:
            found = tuple(tensors[key].shape) if key in tensors else "missing"
            raise WeightsError(
                f"{path}: {key} is {found}, needed is {tuple(target.shape)}; "
                "the file is damaged or belongs to another version of tersor"
            )
        target.copy_(tensors[key])
    model.prior.thaw()


def _array(tensors: dict[str, Tensor], key: str, path: Path) -> Integers:
    if key not in tensors:
        raise WeightsError(f"{path}: {key} is missing; the file is damaged")
    return tensors[key].numpy()
