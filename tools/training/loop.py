"""What every trainer needs around its step: a folder with log and checkpoint, the average of weights, and an
orderly end when it is asked to stop.

    run = Run(folder)
    if state := run.load(): ...                      goes on from there
    for step in run.steps(first, last):              ends early after SIGTERM or Ctrl-C
        ...
        run.log(step=step, loss=...)                 a JSON line, printed too
        run.save({"net": net.state_dict(), ...})     whole or not at all

A checkpoint holds all that the next step depends on, generators included, so that stopping changes nothing.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


class Run:
    """A training run in a folder.

    Args:
        folder: is made; a checkpoint in it is picked up by `load`.
        rank: of this process among several; each has its checkpoint, the first writes the log.
    """

    def __init__(self, folder: str | Path, rank: int = 0) -> None:
        self.folder, self.rank = Path(folder), rank
        self.folder.mkdir(parents=True, exist_ok=True)
        self.checkpoint = self.folder / f"checkpoint{rank or ''}.pt"
        self.stopped = False

    def log(self, **entry: Any) -> None:
        """A line of log.jsonl, and on standard output."""
        if self.rank == 0:
            line = json.dumps(entry)
            print(line, flush=True)
            with (self.folder / "log.jsonl").open("a") as f:
                f.write(line + "\n")

    def save(self, state: dict[str, Any]) -> None:
        """Tensors, numbers and containers of them; what stood there before stays until all is written."""
        beside = self.checkpoint.with_suffix(".new")
        torch.save(state, beside)
        beside.replace(self.checkpoint)

    def load(self, device: str = "cpu") -> dict[str, Any] | None:
        """The last checkpoint, if there is one."""
        if not self.checkpoint.exists():
            return None
        state: dict[str, Any] = torch.load(self.checkpoint, map_location=device, weights_only=True)
        return state

    def steps(self, first: int, last: int) -> Iterator[int]:
        """first + 1 .. last, the number of the step that is being done; no further one once somebody asked to
        stop, which `stopped` then says.
        """

        def stop(number: int, frame: FrameType | None) -> None:
            self.stopped = True

        before = {s: signal.signal(s, stop) for s in (signal.SIGTERM, signal.SIGINT)}
        try:
            for step in range(first + 1, last + 1):
                if self.stopped:
                    return
                yield step
        finally:
            for s, handler in before.items():
                signal.signal(s, handler)


def averaged(model: nn.Module, decay: float) -> AveragedModel:
    """An exponential moving average of weights, `.module`: the first `update_parameters` copies the model,
    each further one moves by 1 - decay of the way to it.
    """
    return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay))
