"""Tests of the log stream's parts."""
