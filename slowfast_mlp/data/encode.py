"""Writing a video file with PyAV: for the embedded data set and for tests."""

from fractions import Fraction
from pathlib import Path

import av
from torch import Tensor


def write_video(
    path: Path, frames: Tensor, *, fps: int, options: dict[str, str], codec: str = "libx264"
) -> None:
    """Writes frames [T, H, W, 3] (uint8, RGB; even H and W) as a video; `options` are the encoder's."""
    num_frames, height, width, _ = frames.shape
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=fps, options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.time_base = Fraction(1, fps)
        stream.thread_count = 1  # the same bytes on any machine
        for index in range(num_frames):
            frame = av.VideoFrame.from_ndarray(frames[index].numpy(), format="rgb24")
            frame.pts = index
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
