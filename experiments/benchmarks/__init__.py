"""What `speed.py` measures: our work, beside the machine's rate and beside its peers."""
