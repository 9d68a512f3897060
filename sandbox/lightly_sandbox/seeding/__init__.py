"""Real photos and videos for a bucket."""
