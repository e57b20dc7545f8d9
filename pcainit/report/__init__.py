"""The report: one self-contained page with the verdict, what to do next, and the figures."""
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pathlib import Path
from typing import Any, Dict

from pcainit.files.atomic import plain, write_text
from pcainit.files.drawing import prepare_drawing


def write_report(folder: str | Path, summary: Dict[str, Any]) -> None:
    """Write ``report.html`` from what is in the folder.

    Parameters
    ----------
    folder : str or Path
        With ``analysis.npz`` and ``latents.npz``; figures whose arrays are missing are left out.
    summary : dict
        What is, or will be, in ``summary.json``.
    """
    prepare_drawing(folder)
    from pcainit.plots import load_result
    from pcainit.report.page import render
    write_text(Path(folder) / "report.html", render(load_result(folder, plain(summary))))
