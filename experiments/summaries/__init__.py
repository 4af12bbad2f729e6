"""Numbers of summary.json, a file for each experiment: computed from its dataset alone."""
