"""status_pages."""
