"""Sound that comes in blocks, as from a microphone: packets out of an encoder, sound out of a decoder, half a
second later.

    python examples/sound_stream.py OUT.tsr
"""

import sys
from pathlib import Path

import numpy as np

import tersor

RATE = 48_000


def microphone(seconds: float):
    """Blocks of 10 ms, int16 [n, channels]."""
    for at in range(0, round(seconds * RATE), RATE // 100):
        t = np.arange(at, at + RATE // 100) / RATE
        yield np.round(9000 * np.sin(2 * np.pi * (220 + 40 * t) * t)).astype(np.int16)[:, None]


stream = tersor.Codec("audio").stream(rate=RATE, channels=1, bitrate=24, content="music", segment=0.5)
receiver = stream.decoder()  # knows the header; everything else is in the packets
heard, sent = [], 0
for block in microphone(3):
    for packet in stream.push(block):
        sent += len(packet)
        heard.append(receiver.push(packet))
heard += [receiver.push(packet) for packet in stream.end()] + [receiver.finish()]

file = stream.finish()  # the same packets as a file
Path(sys.argv[1]).write_bytes(file)
sound = np.concatenate(heard)
assert np.array_equal(sound, np.asarray(tersor.decode(file)))
kbps = 8 * len(file) / 3000
print(f"latency {stream.latency_seconds:.3f} s, {kbps:.1f} kbit/s, heard {len(sound) / RATE:.2f} s")
