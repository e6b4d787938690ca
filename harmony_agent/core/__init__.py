"""What every part stands on: errors, durable files, time limits, secrets kept out of sight."""
