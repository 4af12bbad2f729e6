"""Classification of critical points, with evidence, and polishing."""
