"""Grading from outside: submissions run in a sandbox, and only plain arrays leave it."""
