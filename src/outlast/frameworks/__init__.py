"""One module per framework, imported when one of its models is passed in."""
