"""The floor every service stands on: no business word in it."""
