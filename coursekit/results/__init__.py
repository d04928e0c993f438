"""What a training leaves behind: runs, files that can be trusted, and fingerprints."""
