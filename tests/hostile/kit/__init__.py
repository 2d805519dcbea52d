"""What the rows are written with."""
