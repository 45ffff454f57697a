"""Reads a run's folder without a lock and without a change. Knows both files and what a run is."""
