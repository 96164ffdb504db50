"""The exception for files that cannot be read."""


class DecodeError(Exception):
    """A video that cannot be opened or decoded; holds the file and the reason."""

    def __init__(self, path: str, reason: str):
        super().__init__(path, reason)
        self.path = path
        self.reason = " ".join(reason.split())

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


def reason_of(error: Exception) -> str:
    """The message of an error, without the number, path and function in errors of FFmpeg and the system."""
    return getattr(error, "strerror", None) or str(error)
