"""Cases from public bug reports, as they are called from outside."""
