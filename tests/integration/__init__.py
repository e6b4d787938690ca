"""Tests with real servers, sockets and processes on this machine."""
