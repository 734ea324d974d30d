"""Each command here prints a ratio to a named peer, measured in one run."""
