"""pagers."""
