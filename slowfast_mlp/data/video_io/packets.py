"""Which packets of a video must be decoded for given frames. Pure index arithmetic."""

from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple


class Packet(NamedTuple):
    """A packet as the container describes it: its times, and whether decoding can start there.

    A hidden packet is cut off by an edit list. It is decoded, as others may refer to it, but never shown.
    """

    time: int | None
    decode_time: int | None
    is_keyframe: bool
    is_hidden: bool


class PacketRange(NamedTuple):
    """Packets `first` to `last`, in decoding order, that are decoded without a break."""

    first: int
    last: int


def are_timed(packets: Sequence[Packet]) -> bool:
    """Whether all packets have different presentation times, so that a time identifies a frame."""
    times = {packet.time for packet in packets}
    return None not in times and len(times) == len(packets)


def keyframe_positions(packets: Sequence[Packet]) -> list[int]:
    """Positions from which decoding can start, with increasing presentation times."""
    positions: list[int] = []
    for position, packet in enumerate(packets):
        if packet.is_keyframe and (not positions or packet.time > packets[positions[-1]].time):
            positions.append(position)
    return positions


def packet_ranges(
    packets: Sequence[Packet], keyframes: Sequence[int], wanted: Sequence[int]
) -> list[PacketRange]:
    """The smallest ranges from which the packets at positions `wanted` can be decoded: each from the last
    keyframe that is shown no later.

    Packets that follow a keyframe but are shown before it belong to the previous keyframe: in an open GOP
    they refer to both.
    """
    key_times = [packets[position].time for position in keyframes]
    spans = []
    for position in wanted:
        before = bisect_right(key_times, packets[position].time) - 1
        first = keyframes[before] if before >= 0 else 0
        spans.append((first if first <= position else 0, position))
    ranges: list[PacketRange] = []
    for first, last in sorted(spans):
        if ranges and first <= ranges[-1].last + 1:
            ranges[-1] = PacketRange(ranges[-1].first, max(last, ranges[-1].last))
        else:
            ranges.append(PacketRange(first, last))
    return ranges
