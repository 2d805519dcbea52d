"""The cases, by what they are about. Importing a module here lists its cases."""
