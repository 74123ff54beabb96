"""Rate and distortion of images beside JPEG and WebP, with the picture (pip install 'tersor[eval]').

python examples/rate_distortion.py PHOTOS OUT
"""

import sys

from tersor.evaluate import compare

report = compare("image", sys.argv[1], anchors=["jpeg", "webp"], rates=[10, 30, 50, 70], limit=6, say=print)
for name, curve in report.curves.items():
    points = zip(curve["bpp"], curve["psnr-rgb"], strict=True)
    print(f"{name}: " + ", ".join(f"{rate:.3f} bpp {db:.2f} dB" for rate, db in points))
for anchor, saved in report.bd_rate.items():
    print(f"{anchor}: {saved}")
print(f"tables and picture in {report.save(sys.argv[2])}")
