"""Texts, tables and pictures of a training, made from values. Nothing here changes a run."""
