"""The real programs that samband talks to, started on loopback for one test."""
