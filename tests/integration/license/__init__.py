"""The license with real sockets, certificates, files and mail servers."""
