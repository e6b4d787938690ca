"""Where log events go, and where they are fetched from: Splunk, Datadog, the local store."""
