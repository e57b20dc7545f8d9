"""Start the command line: ``python -m pcainit``."""

# SPDX-License-Identifier: GPL-3.0-or-later
from pcainit.cli.main import console

__all__ = ["console"]

if __name__ == "__main__":
    console()
