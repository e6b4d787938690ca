"""Sync with real inotify, real threads, a real mounted folder, and processes that get killed."""
