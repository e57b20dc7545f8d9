"""Tests of protocols, form, viewers and wizards inside Scipion."""

# SPDX-License-Identifier: GPL-3.0-or-later
