"""Arrays by what they hold, for annotations; shapes and widths stand in docstrings."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray
    from typing_extensions import TypeAlias

    FloatArray: TypeAlias = NDArray[np.floating[Any]]
    ComplexArray: TypeAlias = NDArray[np.complexfloating[Any, Any]]
    IntArray: TypeAlias = NDArray[np.integer[Any]]
    BoolArray: TypeAlias = NDArray[np.bool_]
    AnyArray: TypeAlias = NDArray[Any]
else:  # Python 3.8 cannot subscript numpy's scalar types
    FloatArray = ComplexArray = IntArray = BoolArray = AnyArray = np.ndarray


def read_only(array: FloatArray) -> FloatArray:
    """The same array, read-only: else each kernel is compiled for either, files being read-only."""
    view = array.view()
    view.flags.writeable = False
    return view
