"""Files the engine reads and writes: STAR files, particle stacks, maps, work folders."""
# SPDX-License-Identifier: GPL-3.0-or-later
