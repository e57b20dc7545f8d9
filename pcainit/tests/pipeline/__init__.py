"""Tests of the order of the work, and the routes of the other commands."""
