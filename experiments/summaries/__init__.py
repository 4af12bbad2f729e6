"""Numbers of summary.json, one file per experiment, computed from its dataset."""
