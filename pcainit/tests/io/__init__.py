"""Tests of reading and writing of files."""
