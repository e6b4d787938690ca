"""Splunk and Datadog: the pure parts."""
