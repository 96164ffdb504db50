"""A frame as a picture file."""

from torchvision.io import write_jpeg as write_tensor


def write_jpeg(path, frame):
    """Writes a frame [H, W, 3] (uint8) as a JPEG file."""
    write_tensor(frame.permute(2, 0, 1), str(path))  # 3 H W
