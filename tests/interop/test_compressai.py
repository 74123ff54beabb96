"""CompressAI's models, randomly initialised: their weights cannot be fetched in a test."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
import torch

from tersor.container import Reader
from tersor.errors import SignalError, WeightsError
from tersor.testing.contract import CodecContract

pytestmark = [pytest.mark.zoo, pytest.mark.filterwarnings("default")]
pytest.importorskip("compressai")


@functools.cache
def random_model(architecture: str, metric: str, quality: int) -> torch.nn.Module:
    from compressai.zoo import image_models

    torch.manual_seed(0)
    options = {} if architecture.endswith("-vbr") else {"quality": quality}
    model: torch.nn.Module = image_models[architecture](metric=metric, pretrained=False, **options)
    return model


def make() -> Any:
    from tersor.codecs.compressai.codec import CompressAICodec

    return CompressAICodec("cpu", loader=random_model)


class TestContract(CodecContract):
    encode_options = {"architecture": "bmshj2018-factorized", "quality": 1}  # noqa: RUF012
    mean_error_levels = 255.0

    def make_codec(self) -> Any:
        return make()

    def signals(self) -> list[Any]:
        y, x = np.mgrid[:70, :90]
        smooth = np.stack([x * 2, y * 3, 255 - x], 2).astype(np.uint8)
        return [smooth, smooth[::-1].copy(), smooth[:20, :30].copy()]


@pytest.mark.parametrize(
    "architecture", ["bmshj2018-hyperprior", "mbt2018-mean", "cheng2020-anchor", "mbt2018-mean-vbr"]
)
def test_decodes_what_the_model_decodes(architecture: str, picture: np.ndarray) -> None:
    codec = make()
    x = np.ascontiguousarray(picture[:64, :128])
    (file,) = codec.encode_batch([x], architecture=architecture, quality=2)
    (decoded,) = codec.decode_batch([file])
    model = random_model(architecture, "mse", 2)
    rate = {"s": 1} if architecture.endswith("-vbr") else {}
    with torch.inference_mode():
        tensor = torch.from_numpy(x).permute(2, 0, 1)[None].float() / 255
        out = model.compress(tensor, **rate)
        expected = model.decompress(out["strings"], out["shape"], **rate)["x_hat"]
    np.testing.assert_array_equal(
        decoded.samples, (expected[0].clamp(0, 1) * 255).round().byte().permute(1, 2, 0)
    )
    assert Reader(file).codec == 2


def test_errors() -> None:
    codec, x = make(), np.zeros((8, 8, 3), np.uint8)
    with pytest.raises(SignalError, match="no image model"):
        codec.encode_batch([x], architecture="nonsense")
    with pytest.raises(SignalError, match=r"1\.\.6"):
        codec.encode_batch([x], architecture="cheng2020-anchor", quality=8)
    with pytest.raises(SignalError, match="without alpha"):
        codec.encode_batch([np.zeros((8, 8, 4), np.uint8)])
    (file,) = codec.encode_batch([x], architecture="bmshj2018-factorized", quality=1)
    from tersor.codecs.compressai.codec import CompressAICodec

    def other(architecture: str, metric: str, quality: int) -> torch.nn.Module:
        random_model.cache_clear()
        model = random_model(architecture, metric, quality)
        with torch.no_grad():
            next(model.parameters()).add_(1)
        random_model.cache_clear()
        return model

    with pytest.raises(WeightsError, match="other|loaded are"):
        CompressAICodec("cpu", loader=other).decode_batch([file])
