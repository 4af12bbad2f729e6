"""Files, process settings and results, for the library and its commands."""
