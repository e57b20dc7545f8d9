"""Every parameter of a run, once: default, unit, range, label and help.

The command line, the Scipion form, the documentation and the record in
``summary.json`` are all made from this table.
"""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass, field
from typing import Any, Iterable, NamedTuple

from pcainit.errors import InputError, shorten
from pcainit.limits import FINEST

METHODS = ("particles", "batches", "simple")
# The analysis' own choice of resolution: this share of the volumes', not too close to Nyquist, and
# only where it is finer by more than a little.
FINER, ABOVE_NYQUIST, WORTH_WHILE = 0.55, 1.1, 0.85
START, FIXED = GIVEN_USES = ("start", "fixed")
AUTO = "auto"

_MASK = ("mask", "mask_sampling", "mask_threshold", "mask_near", "mask_far")
# What the commands that are no run use of the table.
USED_BY = {
    "volumes": ("resolution", *_MASK, "components", "classes", "seed"),
    "latents": (
        "resolution",
        "no_ctf",
        "invert_contrast",
        "normalise",
        *_MASK,
        "symmetry",
        "classes",
        "seed",
    ),
}


class _Range(NamedTuple):
    """What a number may be, both ends included."""

    low: float
    high: float
    unit: str = ""


def _setting(
    default: Any,
    stage: str,
    label: str,
    text: str,
    *,
    within: _Range | None = None,
    choices: Iterable[str] = (),
    expert: bool = False,
    methods: Iterable[str] = METHODS,
) -> Any:
    return field(
        default=default,
        metadata=dict(
            stage=stage,
            label=label,
            help=text,
            unit=within.unit if within else "",
            low=within.low if within else None,
            high=within.high if within else None,
            choices=tuple(choices),
            expert=expert,
            methods=tuple(methods),
        ),
    )


@dataclass(frozen=True)
class Settings:
    """Parameters of one run; see the help of each field in its metadata.

    Examples
    --------
    >>> from pcainit.settings import Settings
    >>> Settings(resolution=15.0, classes="4").n_classes
    4
    >>> Settings(resolution=0.5)
    Traceback (most recent call last):
    pcainit.errors.InputError: resolution is 0.5 A: give a value from 1 to 500.
    """

    resolution: float = _setting(
        20.0,
        "prepare",
        "Init structure lowpass resolution (Å)",
        "All volumes are computed at this resolution. 20 Å shows domains and subunits that come "
        "and go; use 10-15 Å for small proteins (under 100 kDa), 30 Å for very noisy or very large "
        "particles. It must not be finer than twice the sampling rate, nor coarser than a sixth of "
        "the box.",
        within=_Range(1.0, 500.0, "A"),
    )
    analysis_resolution: str = _setting(
        AUTO,
        "prepare",
        "Resolution of the analysis (Å)",
        "Once components are found at the resolution of the volumes, particles are told apart with "
        "finer detail down to this resolution, as far as half-sets agree on it. auto takes about "
        "half of the other, within what the sampling rate allows. Give the same number to "
        "do all at one resolution, which takes less time and disk space.",
        expert=True,
        methods=("particles",),
    )
    no_ctf: bool = _setting(
        False,
        "prepare",
        "Leave the CTF uncorrected?",
        "For particles that carry no CTF or are already fully corrected. The volumes are then on "
        "an arbitrary greyscale.",
        expert=True,
    )
    invert_contrast: bool = _setting(
        False,
        "prepare",
        "Invert contrast?",
        "For particles that are dark on bright. They are expected white on dark, as RELION and "
        "Xmipp normalise them.",
        expert=True,
    )
    normalise: bool = _setting(
        False,
        "prepare",
        "Normalise the background?",
        "Set each image's background (outside the circle that touches the box) to mean 0 and "
        "standard deviation 1. RELION's and cryoSPARC's extraction has done this already.",
        expert=True,
    )
    mask: str = _setting(
        "",
        "reconstruct",
        "Mask",
        "Solvent or focus mask (values 0 to 1). Heterogeneity is looked for inside it; outside "
        "every volume carries the consensus. Any box and sampling rate: it is resampled. Without "
        "one, a soft mask is made from the consensus.",
    )
    mask_sampling: float = _setting(
        0.0,
        "reconstruct",
        "Sampling rate of the mask (Å)",
        "Angstrom per pixel of the mask, where its header is wrong; 0 takes the header's.",
        within=_Range(0.0, 1000.0, "A"),
        expert=True,
    )
    mask_threshold: float = _setting(
        0.2,
        "reconstruct",
        "Auto-mask threshold factor",
        "The automatic mask keeps density above this share of the maximum. Lower it if flexible "
        "parts are cut off.",
        within=_Range(0.01, 0.95),
        expert=True,
    )
    mask_near: float = _setting(
        10.0,
        "reconstruct",
        "Auto-mask near distance (Å)",
        "The automatic mask is 1 up to this distance from the density.",
        within=_Range(0.0, 1000.0, "A"),
        expert=True,
    )
    mask_far: float = _setting(
        20.0,
        "reconstruct",
        "Auto-mask far distance (Å)",
        "The automatic mask falls softly to 0 at this distance from the density.",
        within=_Range(0.0, 1000.0, "A"),
        expert=True,
    )
    symmetry: str = _setting(
        "c1",
        "reconstruct",
        "Symmetry",
        "Point group in RELION's notation (c1, c4, d2, t, o, i1, i2...). The consensus is averaged "
        "over it, and so are all volumes but those of the method particles, whose differences may "
        "break it. Expand the particles' symmetry first to look at one subunit.",
        expert=True,
    )
    method: str = _setting(
        "particles",
        "reconstruct",
        "Initialisation method",
        "- particles (recommended): components are found on the individual particles and the "
        "particles are clustered, with a test of whether there is any heterogeneity.\n"
        "- batches: cryoSPARC's five steps, PCA and a Gaussian mixture of reconstructions of "
        "random batches.\n"
        "- simple: one random subset of the particles per class.",
        choices=METHODS,
    )
    reconstructions: int = _setting(
        100,
        "reconstruct",
        "Number of reconstructions",
        "How many random batches are back-projected. More find weaker components.",
        within=_Range(2, 100000),
        methods=("batches",),
    )
    particles_per_reconstruction: int = _setting(
        300,
        "reconstruct",
        "Particles per reconstruction",
        "Size of each random batch: 100-500 for the batch method, 1000-5000 for the simple one.",
        within=_Range(1, 10000000),
        methods=("batches", "simple"),
    )
    stratify: bool = _setting(
        False,
        "reconstruct",
        "Same views in each batch?",
        "Draw each batch with the same share of every viewing direction, so that the batches do "
        "not differ by their views.",
        expert=True,
        methods=("batches",),
    )
    seed: int = _setting(
        0,
        "reconstruct",
        "Random seed",
        "The same seed gives the same result, on any number of threads.",
        within=_Range(0, 2**31 - 1),
        expert=True,
    )
    components: int = _setting(
        4,
        "components",
        "Number of components",
        "How many principal components are computed. 2 to 8 are usual; those that are noise are "
        "recognised, so a few too many do no harm with the particle method.",
        within=_Range(1, 32),
        methods=("particles", "batches"),
    )
    no_local_search: bool = _setting(
        False,
        "components",
        "Look for large changes only?",
        "After the components of the whole mask, many small overlapping spheres are searched, "
        "which finds rare and small changes. Leaving that out saves a quarter to a third of the "
        "time.",
        expert=True,
        methods=("particles",),
    )
    positive_control: bool = _setting(
        False,
        "components",
        "Test with added domains?",
        "Domains of protein are added to some of your own particles and searched for, several "
        "times, to measure from what share on a domain that comes and goes would be found. It "
        "takes as long as about eight more searches for components. A quick estimate is made "
        "in any case.",
        expert=True,
        methods=("particles",),
    )
    given_components: tuple[str, ...] = _setting(
        (),
        "components",
        "Given components",
        "Component volumes of another program, for instance of cryoSPARC's 3D Variability: "
        "differences from the mean, of any box, sampling rate and scale. Another parameter says "
        "how they are used.",
        expert=True,
        methods=("particles",),
    )
    given_use: str = _setting(
        START,
        "components",
        "Use of the given components",
        "start: the search for components begins at them, and finds its own. fixed: they are "
        "used as they are, and the particles are clustered along them; whether they are more "
        "than noise is not tested. Leave out those that may be noise, or give the number of "
        "classes: noise that these particles were fitted to is cut into classes of its own.",
        choices=GIVEN_USES,
        expert=True,
        methods=("particles",),
    )
    given_mean: str = _setting(
        "",
        "components",
        "Mean of the given components",
        "A map that is subtracted from each given component first: give it when they are whole "
        "maps (states, frames of a movement) and not differences. It must have their greyscale.",
        expert=True,
        methods=("particles",),
    )
    classes: str = _setting(
        AUTO,
        "cluster",
        "Number of classes",
        "How many volumes to make, or auto to let the data decide (not for the methods batches and "
        "simple).",
    )

    def __post_init__(self) -> None:
        object.__setattr__(self, "classes", str(self.classes).strip().lower())
        object.__setattr__(
            self, "analysis_resolution", str(self.analysis_resolution).strip().lower()
        )
        object.__setattr__(self, "symmetry", str(self.symmetry).strip().lower())
        given = self.given_components
        if (
            isinstance(given, str)
            or not isinstance(given, Iterable)
            or not all(isinstance(path, str) for path in given)
        ):
            raise InputError(
                "given_components is %s: give paths of maps or of lists of maps."
                % shorten(repr(given))
            )
        object.__setattr__(self, "given_components", tuple(given))
        for name, info in self.fields().items():
            _check(name, getattr(self, name), info)
        if self.classes != AUTO:
            known = re.fullmatch("[0-9]{1,9}", self.classes)
            if known is None or not 2 <= int(self.classes) <= 1000:
                raise InputError(
                    "classes is %r: give a whole number from 2 to 1000, or auto."
                    % shorten(self.classes)
                )
        elif self.method != "particles":
            raise InputError(
                "classes is auto, which only the method particles can decide: "
                "give the number of classes for the method %s." % self.method
            )
        self._check_analysis()
        if self.mask_far < self.mask_near:
            raise InputError(
                "mask_far is %g A, less than mask_near (%g A): make it larger."
                % (self.mask_far, self.mask_near)
            )
        if self.given_components and self.method != "particles":
            raise InputError(
                "given_components are used by the method particles only: leave them "
                "out for the method %s." % self.method
            )
        if self.given_mean and not self.given_components:
            raise InputError(
                "given_mean is %s, but no given_components are there to subtract it "
                "from: give them too, or leave it out." % self.given_mean
            )
        if self.given_use != START and not self.given_components:
            raise InputError(
                "given_use is %s, but no given_components are there: give them too, "
                "or leave it out." % self.given_use
            )
        if self.method == "batches":
            self._check_batches()

    def _check_analysis(self) -> None:
        if self.analysis_resolution == AUTO:
            return
        try:
            value = float(self.analysis_resolution)
        except ValueError:
            value = 0.0
        if not 1 <= value <= self.resolution:
            raise InputError(
                "analysis_resolution is %r: give a number from 1 to the resolution of the volumes "
                "(%g A), or auto." % (shorten(self.analysis_resolution), self.resolution)
            )

    def at_one_resolution(self) -> Settings:
        """The same, with all done at the resolution of the volumes."""
        return dataclasses.replace(self, analysis_resolution=str(self.resolution))

    def finest(self, box: int, sampling: float) -> float:
        """Resolution that images are cropped at, Angstrom: that of the analysis.

        Parameters
        ----------
        box : int
            Of the particles, pixels.
        sampling : float
            Of the particles, Angstrom per pixel.

        Returns
        -------
        float
            The resolution of the volumes where finer detail is not to be had or not asked for.
        """
        if self.method != "particles" or self.given_use == FIXED:
            return self.resolution
        if self.analysis_resolution != AUTO:
            return float(self.analysis_resolution)
        found = max(FINER * self.resolution, ABOVE_NYQUIST * 2 * sampling, box * sampling / FINEST)
        return found if found < WORTH_WHILE * self.resolution else self.resolution

    def _check_batches(self) -> None:
        if self.n_classes > self.reconstructions:
            raise InputError(
                "classes is %d, more than the %d reconstructions: ask for fewer "
                "classes or more reconstructions." % (self.n_classes, self.reconstructions)
            )
        if self.components > self.reconstructions - 1:
            raise InputError(
                "components is %d, but %d reconstructions have at most %d: ask for "
                "fewer components or more reconstructions."
                % (self.components, self.reconstructions, self.reconstructions - 1)
            )

    @property
    def n_classes(self) -> int:
        """Number of classes asked for; 0 when the data decide."""
        return 0 if self.classes == AUTO else int(self.classes)

    @classmethod
    def fields(cls) -> dict[str, dict[str, Any]]:
        """Name -> metadata (with ``default``) of each parameter, in form order."""
        return {f.name: dict(f.metadata, default=f.default) for f in dataclasses.fields(cls)}

    def as_dict(self) -> dict[str, Any]:
        """Plain values, as kept in ``summary.json``."""
        return dataclasses.asdict(self)


def _check(name: str, value: Any, info: dict[str, Any]) -> None:
    choices, low, high = info["choices"], info["low"], info["high"]
    if choices and value not in choices:
        raise InputError("%s is %r: choose one of %s." % (name, value, ", ".join(choices)))
    if low is None:
        return
    if not isinstance(value, (int, float)):  # an empty field of a form
        raise InputError(
            "%s is %s: give a number from %g to %g."
            % (name, "empty" if value is None else repr(value), low, high)
        )
    if not low <= value <= high:  # also refuses NaN
        shown = "%g" % value if isinstance(value, float) else shorten(str(value))
        raise InputError(
            "%s is %s%s: give a value from %g to %g."
            % (name, shown, " " + info["unit"] if info["unit"] else "", low, high)
        )
    if isinstance(info["default"], int) and value != int(value):
        raise InputError("%s is %r: give a whole number." % (name, value))
