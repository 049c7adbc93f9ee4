"""The whole daemon but its sockets in one process, on a virtual clock, from a seed."""
