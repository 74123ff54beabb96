"""The panel that judges sound: which measures there are, which are installed, and what they say together.

No judge counts alone: of a codec, the figure is the worst of the panel's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec

from tersor.errors import MissingDependencyError, SignalError
from tersor.evaluate.report import percent
from tersor.metrics.audio import Floats, mel_distance, pesq_wb, si_sdr_db, stoi, visqol
from tersor.metrics.listeners import dnsmos, voice_distance


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """A measure of decoded sound.

    Attributes:
        of: (original, decoded, rate) -> its value.
        kinds: of sound that it judges.
        needs: modules that must be there.
        install: what brings them.
        smaller_is_better: it is a distance.
        in_loss: what an encoder or a net of ours was made to please is close to it.
    """

    of: Callable[[Floats, Floats, int], float]
    kinds: tuple[str, ...]
    needs: tuple[str, ...] = ()
    install: str = "pip install 'tersor[eval]'"
    smaller_is_better: bool = False
    in_loss: bool = False


_EXTRA = "pip install 'tersor[judges]'"
JUDGES = {
    "pesq": Judge(of=pesq_wb, kinds=("speech",), needs=("pesq", "torchaudio"), in_loss=True),
    "visqol speech": Judge(
        of=lambda x, y, rate: visqol(x, y, rate, "speech"),
        kinds=("speech",),
        needs=("visqol", "ai_edge_litert", "torchaudio"),
        install=_EXTRA,
    ),
    "visqol audio": Judge(
        of=lambda x, y, rate: visqol(x, y, rate, "audio"),
        kinds=("music",),
        needs=("visqol", "libsvm", "torchaudio"),
        install=_EXTRA,
    ),
    "stoi": Judge(of=stoi, kinds=("speech",), needs=("pystoi",)),
    "mel": Judge(of=mel_distance, kinds=("speech", "music"), smaller_is_better=True, in_loss=True),
    "si_sdr_db": Judge(of=lambda x, y, rate: si_sdr_db(x, y), kinds=("speech", "music")),
    "dnsmos": Judge(
        of=dnsmos,
        kinds=("speech",),
        needs=("speechmos", "librosa", "onnxruntime", "requests", "torchaudio"),
        install=_EXTRA,
    ),
    "voice": Judge(
        of=voice_distance,
        kinds=("speech",),
        needs=("resemblyzer", "webrtcvad", "librosa", "torchaudio"),
        install=_EXTRA,
        smaller_is_better=True,
    ),
}


def panel(
    asked: Sequence[str] | None, kinds: Sequence[str], say: Callable[[str], None] = lambda line: None
) -> tuple[str, ...]:
    """Names of the judges that will be heard.

    Args:
        asked: some of `JUDGES`; all that are installed if None, and a line for each that is not.
        kinds: of the sounds that there are.

    Raises:
        SignalError: unknown name. MissingDependencyError: one that was asked for is not installed.
    """
    if unknown := [name for name in asked or () if name not in JUDGES]:
        raise SignalError(f"no judge of sound is called '{unknown[0]}'; there are {', '.join(JUDGES)}")
    out = []
    for name, judge in JUDGES.items():
        if (asked is not None and name not in asked) or not set(judge.kinds) & set(kinds):
            continue
        if missing := [m for m in judge.needs if find_spec(m) is None]:
            words = f"{name} needs {', '.join(missing)}: {judge.install}"
            if asked is not None:
                raise MissingDependencyError(words)
            say(f"left out: {words}")
        else:
            out.append(name)
    return tuple(out)


def sign_of(name: str) -> int:
    return -1 if JUDGES[name].smaller_is_better else 1


def verdict(kind: str, anchor: str, deltas: dict[str, float | None], sounds: int) -> list[str]:
    """A table of what each judge says of the codec against an anchor, and the worst of them.

    Args:
        deltas: BD-rate in percent by judge; None where curves have no value in common.
    """
    lines = [f"{kind}: rate of tersor against the best mode of {anchor} at equal value, {sounds} sounds"]
    for name, delta in deltas.items():
        close = "  (our loss is close to it)" if JUDGES[name].in_loss else ""
        lines.append(f"  {name:<14}{percent(delta):>10}{close}")
    known = {name: delta for name, delta in deltas.items() if delta is not None}
    if known:
        worst = max(known, key=lambda name: known[name])
        lines.append(f"  the figure, the worst of them: {percent(known[worst])} ({worst})")
    return lines
