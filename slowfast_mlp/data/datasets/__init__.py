"""One file per dataset: each knows the lists of that dataset and nothing else."""
