"""Groups to bytes: at a quality, near a size, or as a stream with a bit rate, which has no second pass."""

from __future__ import annotations

from fractions import Fraction

from tersor.codecs.video.chain import FrameEncoder, Shapes
from tersor.codecs.video.group import GroupSettings, encode_and_rebuild, encode_group
from tersor.codecs.video.groups import Group
from tersor.codecs.video.options import DEFAULT_EFFORT, EncodeOptions
from tersor.codecs.video.rate import Sizes, clipped, guess, quality_for
from tersor.codecs.video.trial import tried
from tersor.signals.video import VideoFormat

OFF = 0.1  # G: a group whose bytes are further off what it was given is coded again
TRIES = 4  # G
BUFFER_SECONDS = 8.0  # G: over which a stream evens out its bytes
LEAST_SHARE = 0.2  # G: of its usual bytes that a group gets however much the ones before took


class GroupCoder:
    """Codes groups as the options say.

    Args:
        depth: bits of a sample.
        options: effort and low_delay of them.
    """

    def __init__(self, depth: int, options: EncodeOptions) -> None:
        self._depth, self._effort = depth, options["effort"] or DEFAULT_EFFORT
        self._low_delay = bool(options["low_delay"])

    def code(self, group: Group, quality: float) -> bytes:
        """A group at a quality, 1 to 100."""
        return encode_group(group, depth=self._depth, settings=self._settings(group, quality))

    def rebuilt(self, group: Group, quality: float) -> Group:
        """What a group decodes to."""
        return encode_and_rebuild(group, depth=self._depth, settings=self._settings(group, quality))[1]

    def _settings(self, group: Group, quality: float) -> GroupSettings:
        settings = GroupSettings(quality=quality, effort=self._effort, low_delay=self._low_delay)
        return tried(group[0], self._depth, settings)

    def chain(self, shapes: Shapes, frames: int, quality: float) -> FrameEncoder:
        """A group of at most so many frames that is coded frame by frame."""
        settings = GroupSettings(quality=quality, effort=self._effort, low_delay=True)
        return FrameEncoder(shapes, frames, depth=self._depth, settings=settings)

    def of_size(
        self, group: Group, size: float, sizes: Sizes, off: float, quality: float | None = None
    ) -> bytes:
        """A group at the quality whose bytes are nearest to `size`, of a few that are tried until one is not
        further off than a share; `sizes` are known before, and grow.
        """
        tried: dict[float, bytes] = {}
        while len(tried) < TRIES:
            quality = clipped(quality_for([sizes], size)) if sizes or quality is None else quality
            if quality in tried:
                break
            tried[quality] = self.code(group, quality)
            sizes[quality] = len(tried[quality])
            if abs(sizes[quality] - size) <= off * size:
                break
        return min(tried.values(), key=lambda payload: abs(len(payload) - size))


class OnePass:
    """Codes the groups of a stream so that its bit rate is kept over some seconds.

    Args:
        coder: of the groups.
        form: of the frames.
        rate: frames a second.
        bytes_a_second: to keep.
    """

    def __init__(self, coder: GroupCoder, form: VideoFormat, rate: Fraction, bytes_a_second: float) -> None:
        self._coder, self._a_frame = coder, bytes_a_second / float(rate)
        self._buffer = BUFFER_SECONDS * bytes_a_second
        self._quality = guess(bits_a_pixel(form, rate, bytes_a_second))
        self._left, self._last = 0.0, dict[float, float]()

    def code(self, group: Group) -> bytes:
        """The next group; what the ones before left over, or took too much, is spread over the buffer."""
        frames, sizes = len(group[0]), Sizes()
        payload = self._coder.of_size(group, self._share(frames), sizes, OFF, self._quality)
        self.took(frames, min(sizes, key=lambda q: abs(sizes[q] - len(payload))), len(payload))
        return payload

    def quality(self, frames: int) -> float:
        """For a group that is coded once, by what the one before took."""
        if self._last:
            known = {q: round(size * frames) for q, size in self._last.items()}
            self._quality = clipped(quality_for([known], self._share(frames)))
        return self._quality

    def took(self, frames: int, quality: float, size: int) -> None:
        """What the next group was coded with, and its bytes."""
        self._quality, self._last = quality, {quality: size / frames}
        self._left += self._a_frame * frames - size

    def _share(self, frames: int) -> float:
        return max(LEAST_SHARE, 1 + self._left / self._buffer) * self._a_frame * frames


def bits_a_pixel(form: VideoFormat, rate: Fraction, bytes_a_second: float) -> float:
    return 8 * bytes_a_second / float(rate) / (form.width * form.height)
