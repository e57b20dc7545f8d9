"""Sets of volumes: batches, their PCA and clusters, comparison."""
# SPDX-License-Identifier: GPL-3.0-or-later
