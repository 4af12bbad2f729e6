"""Files, process settings and results, shared by the library, its commands and experiments."""
