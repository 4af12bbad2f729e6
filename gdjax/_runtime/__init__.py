"""Files, process and results: what all parts of gdjax, its commands and experiments share."""
