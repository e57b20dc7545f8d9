"""Hostile values in the forms of all protocols."""

# SPDX-License-Identifier: GPL-3.0-or-later
import contextlib

from pcainit.tests.robustness.hostile import NUMBERS, BrokenError
from pcainit.tests.robustness.hostile_commands import WORDS

LISTS = ("1 2 3", "1e999", "nan nan", "\x00", "9" * 5000, "-1", "1,2", "\u0663", "")


def protocol_classes():
    """The five protocols."""
    from pcainit import protocols

    return sorted(
        (one for name, one in vars(protocols).items() if name.startswith("PcaInitProt")),
        key=lambda one: one.__name__,
    )


def protocol_case(rng, folder, scipion, objects):
    """Validation of a protocol whose form is filled with anything.

    Parameters
    ----------
    scipion : ScipionProject
    objects : list
        What pointers may point to; None for nothing.
    """
    from pyworkflow.protocol import params

    kind, share = rng.choice(protocol_classes()), rng.choice([0.05, 0.5])
    protocol = scipion.project.newProtocol(kind)
    for name, _ in protocol.iterDefinitionAttributes():
        param = protocol.getParam(name)
        pointer = isinstance(param, (params.PointerParam, params.MultiPointerParam))
        if hasattr(protocol, name) and rng.random() < (0.9 if pointer else share):
            # What Scipion's own fields refuse does not get into a form.
            with contextlib.suppress(Exception):
                _fill(getattr(protocol, name), param, rng, folder, objects)

    def call():
        errors = protocol._validate()
        more = protocol._warnings() if not errors else []  # as Scipion asks for them
        return [*errors, *more, *protocol._summary(), *protocol._methods()] or [""]

    def check(sentences):
        for text in sentences:
            if not isinstance(text, str) or "\n" in text or len(text) > 1500:
                raise BrokenError("%s: no sentence: %r" % (kind.__name__, text))
        return 2 if protocol._validate() else True

    return call, check


def _fill(attribute, param, rng, folder, objects):
    from pyworkflow.protocol import params

    fitting = [
        one for one in objects if type(one).__name__ in str(getattr(param, "pointerClass", ""))
    ]
    if fitting and rng.random() < 0.7:
        objects = fitting
    if isinstance(param, params.MultiPointerParam):
        for _ in range(rng.randrange(3)):
            attribute.append(rng.choice(objects))
    elif isinstance(param, params.PointerParam):
        attribute.set(rng.choice(objects))
    elif isinstance(param, params.EnumParam):
        attribute.set(rng.randrange(len(param.choices)))
    elif isinstance(param, params.BooleanParam):
        attribute.set(rng.random() < 0.5)
    elif isinstance(param, params.FloatParam):
        attribute.set(
            rng.choice(
                [None, 0, -1, 2, 20, 10**9, 0.5, 1e308, float("nan"), float("inf"), -float("inf")]
            )
        )
    elif isinstance(param, params.IntParam):
        attribute.set(rng.choice([None, 0, -1, 1, 2, 4, 1000, 10**9, 2**70]))
    elif isinstance(param, params.FileParam):
        path = folder / "list.txt"
        path.write_bytes(rng.choice(LISTS).encode("utf-8", "surrogateescape"))
        attribute.set(rng.choice([str(path), str(folder), "/nowhere", "", "x" * 5000]))
    else:
        attribute.set(rng.choice(WORDS + NUMBERS))
