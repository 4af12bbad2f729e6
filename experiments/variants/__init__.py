"""What experiments compare, where that is more than a line of their config."""
