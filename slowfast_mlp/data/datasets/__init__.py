"""One file per data set: each knows the lists of that data set and nothing else."""
