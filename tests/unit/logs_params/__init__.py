"""The wire form of a question to a log system."""
