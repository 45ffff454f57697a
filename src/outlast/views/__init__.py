"""What a training looks like: texts and pictures, made from values, read only."""
