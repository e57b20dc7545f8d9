"""A scheduled run that cannot start says so, where Scipion alone would let it wait for ever."""

# SPDX-License-Identifier: GPL-3.0-or-later
from pyworkflow.object import Set
from pyworkflow.protocol import Protocol


class FailsWhenRefused:
    """Mixed into a protocol, before Scipion's own classes.

    Scipion asks a scheduled run every few seconds whether its input is good, and writes why it is
    not into a log that nobody looks at.  Once all that the run waits for is there, more waiting
    changes nothing: then it is started all the same, is refused at its start, and stands in the
    project as failed, with the reason.
    """

    def validate(self):
        """Why the run cannot start; nothing for a scheduled one that has its input."""
        errors = super().validate()
        return [] if errors and self.isScheduled() and self._inputIsComplete() else errors

    def _inputIsComplete(self):
        """Whether every run that this one takes something from has ended well."""
        pointers = [pointer for _, pointer in self.iterInputAttributes()]
        return all(
            _is_finished(pointer.getObjValue()) and _is_closed(pointer.get())
            for pointer in pointers
        )


def _is_finished(source):
    return source.isFinished() if isinstance(source, Protocol) else True


def _is_closed(found):
    return not (isinstance(found, Set) and found.isStreamOpen())
