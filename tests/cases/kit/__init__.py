"""What the cases are written with."""
