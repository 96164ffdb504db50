"""Files of PySlowFast and its forks."""
