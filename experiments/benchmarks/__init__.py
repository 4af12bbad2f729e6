"""What `speed.py` metrics: our work, beside the machine's rate and beside its peers."""
