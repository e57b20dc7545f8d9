"""The page of what is done with each column, made from the table in `pcainit.io.columns`."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pcainit.io.columns import DECISIONS, IGNORED, REFUSED, SCIPION, USED

WORDS = {USED: "used", REFUSED: "refused", IGNORED: "not looked at"}


def tables() -> str:
    """Both tables in Markdown: RELION's columns, and the flags of Scipion's sets."""
    lines = ["| columns | what is done | why |", "| --- | --- | --- |"]
    for decision in DECISIONS:
        labels = ", ".join("`%s`" % label for label in decision.labels)
        lines.append("| %s | %s | %s |" % (labels, WORDS[decision.what], decision.why))
    lines += ["", "| of a Scipion set | what is done | why |", "| --- | --- | --- |"]
    lines += ["| `%s` | %s | %s |" % row for row in SCIPION]
    return "\n".join(lines) + "\n"
