"""What starts from a stored sweep: extension, branches, replay, parts, and concatenation."""
