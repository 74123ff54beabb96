"""Rate and distortion of each codec against its anchors: real file bytes, decoded output."""
