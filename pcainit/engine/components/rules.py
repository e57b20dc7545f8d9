"""The thresholds that decide a verdict, each with its unit and where it was tuned.

Where no set is named, none was recorded.  Sample sizes, numbers of rounds and other constants that
decide how long a search takes stay with the code that uses them.
"""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class CertificationRules:
    """What counts as heterogeneity of the particle, as a place, as a class.

    Scores are in standard deviations of what noise alone gives, cosines between the components of
    two independent half-sets.

    Parameters
    ----------
    null_factor : float
        A component is certified when its half-set cosine exceeds the null's upper bound this many
        times; half-way to 1 is enough.  Number.
    min_cosine : float
        ... and this cosine in any case.
    clear_cosine : float
        Below this cosine a certified component is known too badly to be taken for granted.
    min_score : float
        The other half's particles must confirm a component by so much.  Score.
    min_started_score : float
        The same where both halves started from given components: noise fitted to all of the
        particles lingers there.  Score.  Tuned on null sets (1,500 and 4,000 particles, 4 and 8
        components given), where it scored up to 6.8.
    max_nuisance : float
        More of a component than this in the span of contrast, shift and rotation makes it an
        artefact.  Share of its power.
    max_scrambled_inside, max_scrambled_outside : float
        Scrambled residuals may vary along a direction by this share of what the particles do, more
        where most of it lies inside the particle.  Share of the score.  Tuned on real apoferritin:
        a pedestal of the background has 0.8, a ball that comes and goes in its cavity 0.3
        (exchanged, it is still in the middle), what comes and goes outside 0.1; neighbours that
        keep to a particle's axes have 0.2 to 0.6.
    min_of_surroundings : float
        ... and it must have this share of the strongest score that surroundings make.  Share of the
        score.  Tuned in apoferritin's cavity: a leftover of surroundings has 0.2 to 0.25, the ball
        there 0.9.
    leak : float
        Of the strongest direction's score, this much may be another's in scrambled particles.
        Share of the score.  The three of four ribosome states have 0.005 to 0.014.
    min_at_mates : float
        Where poses were confined to one asymmetric unit, so much of a direction must be there at
        equivalent poses.  Share of the score.  Tuned on real apoferritin refined with O, whose
        neighbours have 0.26 to 0.62.
    min_agreement : float
        Half-sets agree on a component where its local correlation exceeds this.  Number.  Tuned on
        ribosomes that lose a tRNA (2 % of atoms) and on apoferritin with 60 kDa added.
    min_amplitude : float
        ... and its amplitude this share of its largest.
    min_signal : float
        A component that varies by less than this share of the strongest one's variance (in units of
        the particles' noise) is what the model gets wrong about that one: many particles make it
        significant.  Share of the score.
    min_variance : float
        A component whose variance is less than this share of the consensus' own power inside the
        mask is what interpolation gets wrong about the consensus.  Share.  Homogeneous sets of very
        low noise (SNR 0.3 and 1 of the whole image) have up to 4e-5, true components of eleven
        sets from 1.9e-4 on.
    min_start : float
        A place is not fitted when what the search found there in either half-set varies by less
        than this, half of `min_signal`: fits have made it 0.3 to 1.4 times as much.  Share of the
        strongest component's score.
    min_sweep_score : float
        A region is looked at closely from this score of the sweep.  Score.  Of 168 regions that
        hold noise none scored over 3.3.
    min_sweep_cosine : float
        ... and this cosine.
    min_new : float
        Of a local component, so much must lie outside the span of what is known.  Share of its
        power.
    sure_score : float
        Score of a change that is found nearly always: what the smallest detectable share goes by.
    max_inside : float
        Components of which at most this lies in the particle are looked at alone for what goes on
        outside the mask, before all are.  Share of their power.
    min_outside : float
        Of what both half-sets show of a component, this share lies outside the mask where it goes
        on.  Share of the product of the two.  Of ribosomes and of adenylate kinase 0.02 at most, of
        what comes and goes beyond the mask 0.5.
    min_strength_kept : float
        In a larger mask the strongest component must keep this share of its score, where more are
        certified there; else it must gain.  Share of the score.  Tuned on an antibody whose arm
        turns all round: 0.995, and eleven components for nine.
    min_density : float
        What goes on outside has at least this share of the component's largest density in both
        half-sets.
    min_elements : float
        ... and fills at least so many resolution elements.
    min_gain : float
        One more class must raise the held-out log-likelihood by so much.  Standard errors.
    min_distance : float
        Classes whose centres are farther apart than this are told apart by single particles.
        Standard deviations of a particle's noise.
    min_class_agreement : float
        Half-sets must agree on what nearer ones differ by, to this cosine.  Number.  Tuned on 16
        assembly states of a ribosome: eleven classes have 0.91 or more, of thirteen two pairs 0.76
        and 0.78.
    min_distance_asked : float
        Centres that are nearer than this are no classes, whatever half-sets say.  Standard
        deviations of a particle's noise.  Where a number of classes is asked for it is all that
        is asked of them: parts of a continuous movement are welcome.
    min_distance_alone : float
        Two classes where else there would be one may be this near, when particles spread along
        certified components rather as two states than evenly.  18 kDa of apoferritin that come and
        go give 1.1 and 1.5.
    clearly_even : float
        An even spread must be more likely than two states by so much to be believed: noise of real
        images has heavy tails, which speak for it.  Natural logarithm.  6 on apoferritin of two
        states.
    """

    null_factor: float = 1.3
    min_cosine: float = 0.3
    clear_cosine: float = 0.6
    min_score: float = 5.0
    min_started_score: float = 10.0
    max_nuisance: float = 0.4
    max_scrambled_inside: float = 0.4
    max_scrambled_outside: float = 0.18
    min_of_surroundings: float = 0.35
    leak: float = 0.02
    min_at_mates: float = 0.7
    min_agreement: float = 0.3
    min_amplitude: float = 0.15
    min_signal: float = 0.01
    min_variance: float = 8e-5
    min_start: float = 0.005
    min_sweep_score: float = 5.0
    min_sweep_cosine: float = 0.3
    min_new: float = 0.2
    sure_score: float = 10.0
    max_inside: float = 0.45
    min_outside: float = 0.3
    min_strength_kept: float = 0.97
    min_density: float = 0.35
    min_elements: float = 1.0
    min_gain: float = 3.0
    min_distance: float = 2.0
    min_class_agreement: float = 0.8
    min_distance_asked: float = 1.0
    min_distance_alone: float = 1.0
    clearly_even: float = 10.0


RULES = CertificationRules()
