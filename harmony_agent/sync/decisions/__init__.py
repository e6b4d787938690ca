"""What is to be done, decided without I/O: from three views of a file to a plan."""
