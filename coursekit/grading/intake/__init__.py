"""Submissions as they come: files and archives are found, notebooks are read, nothing runs."""
