"""What images are like as they come: masked, not normalised and filtered ones are noticed.

All is measured on the images as they lie in their files, before `normalise_background` and before
their sign is changed.  The background is what lies outside the circle that touches the box.

What cannot be seen: a mask that reaches into the corners (it does no harm), and one whose outside
was filled with noise.
"""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np

from pcainit.engine.arrays import BoolArray, FloatArray
from pcainit.engine.compiled.jit import kernel
from pcainit.engine.compiled.kinds import INT, reads, writes
from pcainit.errors import InputError

# Of the variance inside: what is left of a constant after rounding.  Images without noise have
# more than this where the CTF has spread them (1e-9 at a signal-to-noise ratio of 1e9).
CONSTANT = 1e-10
# Where pixel noise makes up a quarter of the variance inside, and neighbours twice to three times
# as much of the variance somewhere as elsewhere, a background has at least a twelfth.  A mask that
# was interpolated or cropped in Fourier space leaves 0.001 to 0.003 of it outside.
FADED, NOISY = 0.02, 0.25
# Measured on three states at a signal-to-noise ratio of 0.1, contrast and poses without errors:
# a common offset of 1 standard deviation changes nothing, 3 leave the classes but a contrast of
# 29 %, 10 hide all that varies; offsets that differ from image to image do no harm up to 10.
OFFSET, FAR_OFFSET = 1.5, 5.0
# 90th over 10th percentile of the background's standard deviation.  Of the same set, 2 gives a
# contrast that varies by 28 %, 3 one of 44 %, 4 loses a class, and 8 a component.
SPREAD, FAR_SPREAD = 2.0, 3.5
# Power of the first shell over the background's variance: 1 for white noise, more where noise or
# signal rise towards low frequency, and 0.85 after a plane was subtracted.
HIGH_PASSED = 0.2
MAX_MASKED = 0.5  # of the images: more are refused, fewer are set aside

LINES = 32  # of an image that are looked at, evenly spread
_COLUMNS = 5


@dataclass(frozen=True, eq=False)
class Surroundings:
    """Background and inside of some images.

    Parameters
    ----------
    table : (n, 5) float64
        Of each image: mean and variance of its background; variance within half the radius of
        the circle, and that of the pixels' noise there; mean power of its first shell.
    normalised : bool
        Whether the background is normalised after it is measured.
    """

    table: FloatArray
    normalised: bool

    @classmethod
    def empty(cls, count: int, normalised: bool) -> Surroundings:
        """Room for so many images."""
        return cls(np.zeros((count, _COLUMNS)), normalised)

    @property
    def mean(self) -> FloatArray:
        """Mean of each background."""
        return self.table[:, 0]

    @property
    def variance(self) -> FloatArray:
        """Variance of each background."""
        return self.table[:, 1]

    @property
    def offset(self) -> FloatArray:
        """Mean of each background in its standard deviations."""
        return _ratio(self.mean, np.sqrt(self.variance))

    @property
    def contrast(self) -> FloatArray:
        """Variance of each background over that inside."""
        return _ratio(self.table[:, 1], self.table[:, 2])

    @property
    def noise(self) -> FloatArray:
        """Share of the variance inside that differs from pixel to pixel."""
        return _ratio(self.table[:, 3], self.table[:, 2])

    @property
    def lowest(self) -> FloatArray:
        """Power of the first shell over the background's variance."""
        return _ratio(self.table[:, 4], self.table[:, 1])

    def blank(self) -> BoolArray:
        """Which images have a constant background, but not a constant inside, (n,) bool."""
        return (self.table[:, 2] > 0) & (self.contrast < CONSTANT)

    def masked(self) -> BoolArray:
        """Which images look masked, if most do: a single one may have a bright spot inside."""
        return self.blank() | (self.contrast < FADED) & (self.noise > NOISY)


def find_masked(surroundings: Surroundings, usable: BoolArray) -> BoolArray:
    """Which images have to be set aside because their background was cut away, (n,) bool.

    Raises
    ------
    InputError
        Most of those that can be used are masked, or so far from normalised that nothing can be
        said.
    """
    share = surroundings.masked()[usable].mean()
    if share > MAX_MASKED:
        raise InputError(
            "The images are masked: %.0f %% of them have (nearly) no variance outside the circle "
            "that touches the box, and much inside. Without the noise around the particles results "
            "would be wrong: give the particles as they were extracted, without a mask (those from "
            "before a mask was applied, or extract them again)." % (100 * share)
        )
    wrong = _unnormalised(describe_images(surroundings, usable, 0), FAR_OFFSET, FAR_SPREAD)
    if wrong:
        raise InputError(
            "The images are not normalised: %s, with which results would be wrong. "
            "Have the background normalised (--normalise)." % wrong
        )
    return surroundings.blank()


def describe_images(surroundings: Surroundings, usable: BoolArray, masked: int) -> dict[str, Any]:
    """What images are like in plain numbers, for `warn_of_images` and the summary.

    Parameters
    ----------
    surroundings : Surroundings
    usable : (n,) bool
    masked : int
        How many are set aside as masked.

    Returns
    -------
    dict
        Lists are the 10th, 50th and 90th percentile; None where there is no finite number.
    """
    return dict(
        normalised=surroundings.normalised,
        masked=masked,
        background_mean=_percentiles(surroundings.mean[usable]),
        background_sd=_percentiles(np.sqrt(surroundings.variance[usable])),
        background_offset=_percentiles(surroundings.offset[usable]),
        background_over_inside=_percentiles(surroundings.contrast[usable]),
        low_frequency=_percentiles(surroundings.lowest[usable]),
    )


def _percentiles(values: FloatArray) -> list[float] | None:
    values = values[np.isfinite(values)]
    return np.percentile(values, [10, 50, 90]).tolist() if len(values) else None


def warn_of_images(images: dict[str, Any]) -> list[str]:
    """Plain sentences on what is unusual about the images; see `describe_images`."""
    sentences, wrong = [], _unnormalised(images, OFFSET, SPREAD)
    if wrong:
        sentences.append(
            "The images are not normalised: %s. Contrast and classes may suffer: run "
            "again with the background normalised (--normalise)." % wrong
        )
    lowest = images.get("low_frequency")
    if lowest and lowest[1] < HIGH_PASSED:
        sentences.append(
            "The images seem to be high-pass filtered (their power at the lowest "
            "frequency is %.2g of the noise's): the greyscale of large features is "
            "not absolute, and components of large extent are weakened." % lowest[1]
        )
    return sentences


def _unnormalised(images: dict[str, Any], most: float, spread: float) -> str:
    """What is wrong with the background beyond a common offset and a spread; empty if nothing.

    Without noise the background is what the CTF has brought there, and says nothing.
    """
    offset, deviation, against = (
        images.get("background_" + name) for name in ("offset", "sd", "over_inside")
    )
    if images.get("normalised") or not (offset and deviation and against) or against[1] < FADED:
        return ""
    seen = []
    if abs(offset[1]) > most:
        seen.append(
            "the background's mean is typically %.3g of its standard deviations" % offset[1]
        )
    if deviation[2] > spread * deviation[0]:
        seen.append(
            "the background's standard deviation varies from %.3g to %.3g (10th to 90th "
            "percentile)" % (deviation[0], deviation[2])
        )
    return " and ".join(seen)


def _ratio(one: FloatArray, two: FloatArray) -> FloatArray:
    with np.errstate(all="ignore"):
        return np.where(two > 0, one / two, np.inf)


@functools.lru_cache(maxsize=1)
def _spans(box_px: int) -> tuple[FloatArray, FloatArray]:
    """First and last column of each line (from, to) inside two circles, (box, 2) int64.

    Returns
    -------
    rim : the circle that touches the box
    core : the one of half its radius
    """
    middle, made = box_px // 2, []
    lines = np.abs(np.arange(box_px) - middle)
    for radius in (box_px / 2, box_px / 4):
        reach = np.floor(np.sqrt(np.maximum(radius**2 - lines**2, 0)))
        span = np.stack([middle - reach, np.minimum(middle + reach + 1, box_px)], axis=1)
        span[lines > radius] = middle
        made.append(span.astype(np.int64))
    return made[0], made[1]


def measure_surroundings(images: FloatArray) -> FloatArray:
    """What `Surroundings` holds of images but the last column, (n, 4) float64.

    Of large images some lines are looked at: all would cost several per cent of the stage.

    Parameters
    ----------
    images : (n, box, box) float32
    """
    table = np.empty((len(images), _COLUMNS - 1))
    _measure(
        np.ascontiguousarray(images, np.float32),
        *_spans(images.shape[1]),
        max(1, images.shape[1] // LINES),
        table,
    )
    return table


@kernel(reads("float32", 3), reads("int64", 2), reads("int64", 2), INT, writes("float64", 2))
def _measure(images, rim, core, step, table):
    zero = np.float32(0)
    for i in range(len(images)):
        level, box = images[i, 0, 0], images.shape[1]
        count, total, squares = 0, 0.0, 0.0
        inside, inside_total, inside_squares = 0, 0.0, 0.0
        crosses, cross_squares = 0, 0.0
        for y in range(step // 2, box, step):
            line = images[i, y]
            first, last = rim[y]
            one, two = zero, zero  # of a line in single precision, of the image in double
            for x in range(first):
                value = line[x] - level
                one += value
                two += value * value
            for x in range(last, box):
                value = line[x] - level
                one += value
                two += value * value
            count += first + box - last
            total += one
            squares += two
            first, last = core[y]
            if first == last:
                continue
            one, two = zero, zero
            for x in range(first, last):
                value = line[x] - level
                one += value
                two += value * value
            inside += last - first
            inside_total += one
            inside_squares += two
            next_line = images[i, y + 1]
            first, last = max(first, core[y + 1, 0]), min(last, core[y + 1, 1]) - 1
            two = zero
            for x in range(first, last):
                value = (line[x] - next_line[x]) - (line[x + 1] - next_line[x + 1])
                two += value * value
            crosses += max(last - first, 0)
            cross_squares += two
        total /= count
        inside_total /= inside
        table[i, 0] = level + total
        table[i, 1] = max(squares / count - total * total, 0.0)
        table[i, 2] = max(inside_squares / inside - inside_total * inside_total, 0.0)
        table[i, 3] = cross_squares / (4 * crosses)
