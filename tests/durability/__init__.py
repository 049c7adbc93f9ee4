"""What survives a power loss, a kill and a failing disk: the daemon's system calls, recorded and played again."""
