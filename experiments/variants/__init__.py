"""Problems and training variants that the experiments compare."""
