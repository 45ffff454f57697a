"""Training callbacks that lose nothing."""
