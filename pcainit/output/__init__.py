"""All that a person reads: volumes, tables, sentences, figures and the report."""
# SPDX-License-Identifier: GPL-3.0-or-later
