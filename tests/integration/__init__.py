"""samband as people run it: a process of its own, real senders before it, the three sinks on real sockets behind it."""
