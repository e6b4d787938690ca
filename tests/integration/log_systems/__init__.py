"""Splunk and Datadog against their stand-ins, over TLS, with the real client libraries."""
