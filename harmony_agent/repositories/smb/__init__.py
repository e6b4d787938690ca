"""An SMB share as a repository."""
