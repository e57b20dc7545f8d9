"""Tests of what accidents do: full disks, kills, damaged and hostile files."""
