"""From source to log system: batch, deliver, checkpoint. The log file itself is the buffer."""
