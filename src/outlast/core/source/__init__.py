"""What the source of a script says of its variables: which of them its loops carry on."""
