"""RandAugment from its timm string: ops and arguments, sampled once for all frames of a clip."""

import re
from collections.abc import Callable
from dataclasses import dataclass

import torch

from slowfast_mlp.errors import UserError

MAX_MAGNITUDE = 10.0

Op = tuple[str, float]  # name and argument


def _factor(share: float, sign: int, increasing: bool) -> float:
    """Factor of Color, Contrast, Brightness and Sharpness; 1 is the identity."""
    return 1 + sign * share * 0.9 if increasing else share * 1.8 + 0.1


def _bits(share: float, sign: int, increasing: bool) -> float:
    return 4 - int(share * 4) if increasing else int(share * 4)


def _threshold(share: float, sign: int, increasing: bool) -> float:
    return 256 - int(share * 256) if increasing else int(share * 256)


# timm's 15 ops: name -> function of the magnitude over its maximum, a sign of 1 or -1, and whether the effect
# increases with the magnitude (`inc1`), that returns the op's argument. Ops without an argument get 0.
ARGUMENTS: dict[str, Callable[[float, int, bool], float]] = {
    "AutoContrast": lambda share, sign, increasing: 0,
    "Equalize": lambda share, sign, increasing: 0,
    "Invert": lambda share, sign, increasing: 0,
    "Rotate": lambda share, sign, increasing: sign * share * 30,  # degrees
    "Posterize": _bits,
    "Solarize": _threshold,
    "SolarizeAdd": lambda share, sign, increasing: int(share * 110),
    "Color": _factor,
    "Contrast": _factor,
    "Brightness": _factor,
    "Sharpness": _factor,
    "ShearX": lambda share, sign, increasing: sign * share * 0.3,
    "ShearY": lambda share, sign, increasing: sign * share * 0.3,
    "TranslateX": lambda share, sign, increasing: sign * share * 0.45,  # of the width
    "TranslateY": lambda share, sign, increasing: sign * share * 0.45,  # of the height
}
NAMES = tuple(ARGUMENTS)


@dataclass(frozen=True, kw_only=True)
class RandAugment:
    """Samples `num_ops` ops with replacement; each is applied with probability `prob`.

    The magnitude is normal with mean `magnitude` and deviation `std`, clamped to [0, `max_magnitude`].
    """

    magnitude: float = MAX_MAGNITUDE
    num_ops: int = 2
    std: float = 0.0
    increasing: bool = False
    prob: float = 0.5
    max_magnitude: float = MAX_MAGNITUDE

    def sample(self, generator: torch.Generator) -> tuple[Op, ...]:
        """The ops to apply, in order."""
        chosen = torch.randint(len(NAMES), (self.num_ops,), generator=generator).tolist()
        uniform = torch.rand(self.num_ops, 2, generator=generator).tolist()
        normal = torch.randn(self.num_ops, generator=generator, dtype=torch.float64).tolist()
        ops = []
        for position, (chance, side), deviation in zip(chosen, uniform, normal):
            magnitude = min(self.max_magnitude, max(0.0, self.magnitude + self.std * deviation))
            argument = ARGUMENTS[NAMES[position]]
            if chance < self.prob:
                sign = -1 if side < 0.5 else 1
                ops.append((NAMES[position], argument(magnitude / MAX_MAGNITUDE, sign, self.increasing)))
        return tuple(ops)


# Letters of the string -> field, conversion, minimum and maximum.
PARTS: dict[str, tuple[str, Callable[[str], float], float, float]] = {
    "m": ("magnitude", float, 0, MAX_MAGNITUDE),
    "n": ("num_ops", int, 1, 100),
    "mstd": ("std", float, 0, 100),
    "inc": ("increasing", int, 0, 1),
    "mmax": ("max_magnitude", float, 0, MAX_MAGNITUDE),
    "p": ("prob", float, 0, 1),
}


def parse_randaugment(text: str) -> RandAugment:
    """Parses a timm string such as rand-m7-n4-mstd0.5-inc1. Raises UserError."""
    first, *parts = text.split("-")
    if first != "rand":
        raise UserError(f"AUG.AA_TYPE {text!r}: it starts with rand, such as rand-m7-n4-mstd0.5-inc1.")
    values = {}
    for part in parts:
        letters, number = re.fullmatch(r"([a-z]*)(.*)", part, re.DOTALL).groups()
        if letters not in PARTS:
            raise UserError(f"AUG.AA_TYPE {text!r}: unknown part {part!r}; there is {', '.join(PARTS)}.")
        name, convert, low, high = PARTS[letters]
        try:
            values[name] = convert(number)
        except ValueError:
            values[name] = None
        if values[name] is None or not low <= values[name] <= high:
            raise UserError(
                f"AUG.AA_TYPE {text!r}: after {letters} give a number of {low:g} to {high:g}, not {number!r}."
            )
    return RandAugment(**values)
