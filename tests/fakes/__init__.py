"""Services that samband talks to, made for tests: real sockets, the vendors' protocol, their refusals and bad days.

Each checks what it is sent against the vendor's schema (when SAMBAND_DATA is set) and against its
own rules (always), and keeps what it was made to hold, so that a test can count objects per key.
"""
