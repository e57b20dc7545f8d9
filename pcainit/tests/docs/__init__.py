"""The documentation says what the code does."""

# SPDX-License-Identifier: GPL-3.0-or-later
