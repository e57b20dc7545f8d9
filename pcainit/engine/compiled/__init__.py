"""Machinery of compiled code: kernels, vector lanes, threads, products that round alike."""
# SPDX-License-Identifier: GPL-3.0-or-later
