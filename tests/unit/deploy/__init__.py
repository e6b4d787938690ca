"""What the shipped manifests promise."""
