"""The report: one self-contained page with the verdict, what to do next, and the figures."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pathlib import Path
from typing import Any

from pcainit.io.atomic import to_json_types, write_text
from pcainit.output.drawing import prepare_drawing


def write_report(folder: str | Path, summary: dict[str, Any]) -> None:
    """Write ``report.html`` from what is in the folder.

    Parameters
    ----------
    folder : str or Path
        With ``analysis.npz`` and ``latents.npz``; figures whose arrays are missing are left out.
    summary : dict
        What is, or will be, in ``summary.json``.
    """
    prepare_drawing(folder)
    from pcainit.output.plots import load_result
    from pcainit.output.report.page import render

    write_text(Path(folder) / "report.html", render(load_result(folder, to_json_types(summary))))
