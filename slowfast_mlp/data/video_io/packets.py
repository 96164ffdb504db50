"""Which packets of a video must be decoded for the frames that are wanted: arithmetic on numbers alone."""

from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple


class Packet(NamedTuple):
    """What the container says of a packet: its times, and whether decoding can start there.

    A hidden packet is decoded, for others refer to it, and never shown: an edit list cuts it off.
    """

    time: int | None
    decode_time: int | None
    is_keyframe: bool
    is_hidden: bool


class Run(NamedTuple):
    """Packets `first` to `last`, in the order of decoding, that are decoded without a break."""

    first: int
    last: int


def are_timed(packets: Sequence[Packet]) -> bool:
    """Whether every packet has a presentation time of its own, so that a time names a frame."""
    times = {packet.time for packet in packets}
    return None not in times and len(times) == len(packets)


def keyframe_positions(packets: Sequence[Packet]) -> list[int]:
    """Positions from which decoding can start; those only that follow one another in time too."""
    positions: list[int] = []
    for position, packet in enumerate(packets):
        if packet.is_keyframe and (not positions or packet.time > packets[positions[-1]].time):
            positions.append(position)
    return positions


def plan_runs(packets: Sequence[Packet], keyframes: Sequence[int], wanted: Sequence[int]) -> list[Run]:
    """The fewest packets that give the packets at positions `wanted`: for each, from the last keyframe that
    is shown no later than it.

    Packets behind a keyframe that are shown before it belong to the keyframe before: in an open group of
    pictures they refer to both sides.
    """
    key_times = [packets[position].time for position in keyframes]
    spans = []
    for position in wanted:
        before = bisect_right(key_times, packets[position].time) - 1
        first = keyframes[before] if before >= 0 else 0
        spans.append((first if first <= position else 0, position))
    runs: list[Run] = []
    for first, last in sorted(spans):
        if runs and first <= runs[-1].last + 1:
            runs[-1] = Run(runs[-1].first, max(last, runs[-1].last))
        else:
            runs.append(Run(first, last))
    return runs
