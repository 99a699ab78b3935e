"""What could stop a run, looked at before its first step."""
