"""The order of the work: stages, what they keep, and the routes of the other commands."""
# SPDX-License-Identifier: GPL-3.0-or-later
