"""The image model y = a C P (mu + U z) + N w + n, its posterior, and its EM."""
# SPDX-License-Identifier: GPL-3.0-or-later
