"""Libraries that take long to load are loaded while others work."""
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import concurrent.futures
import contextlib
import importlib
from typing import Iterator, Sequence

DRAWING, MIXTURE = "pcainit.report.page", "sklearn.mixture"


@contextlib.contextmanager
def loading_ahead(modules: Sequence[str]) -> Iterator[None]:
    """Import modules in the background while the body runs.

    What fails here fails again, and is then explained, where the module is used.

    Parameters
    ----------
    modules : sequence of str
    """
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        with contextlib.suppress(RuntimeError):         # no further thread may be started
            pool.submit(_load, modules)
        yield


def _load(modules: Sequence[str]) -> None:
    for name in modules:
        with contextlib.suppress(Exception):
            importlib.import_module(name)
