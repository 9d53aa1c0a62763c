"""The hourly story, one function a file: read, decide, write."""
