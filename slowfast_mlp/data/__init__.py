"""From a list of videos to batches of clips."""
