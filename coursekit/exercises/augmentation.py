"""Exercises to a lesson (being written)."""
