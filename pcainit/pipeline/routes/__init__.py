"""Commands that are not the main job: other inputs, comparison, one more volume."""
# SPDX-License-Identifier: GPL-3.0-or-later
