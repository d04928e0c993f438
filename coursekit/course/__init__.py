"""The lessons as files, and what a learner left in them."""
