"""The rows, by what they attack. Importing a module here lists its rows."""
