"""The host: callbacks with a folder, one commit for everything, and exact resume."""
