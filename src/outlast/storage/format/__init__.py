"""The format on disk: names, limits, tensors, and how Python values become JSON and arrays."""
