"""correlators."""
