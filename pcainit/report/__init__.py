"""The report: one self-contained page."""
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pathlib import Path
from typing import Any, Dict


def write_report(folder: Path, summary: Dict[str, Any]) -> None:
    """Write ``report.html`` from what is in the folder."""
    (Path(folder) / "report.html").write_text("<p>%s</p>" % summary["verdict"])
