"""What a run asks, checks, remembers and says."""
