"""Tests of the engine, on arrays with known truth."""
