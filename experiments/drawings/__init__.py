"""Pictures that one experiment draws, a file each; those that more than one draws: gdjax.plots."""
