"""Harmony's system log: from its file to a log system, each event once, and back on request."""
