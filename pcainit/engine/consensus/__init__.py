"""The mean of all particles: level, window, contrast, junk and pose corrections."""
# SPDX-License-Identifier: GPL-3.0-or-later
