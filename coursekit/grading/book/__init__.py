"""From records to grades: which copy counts, what a person adds, what each student is told."""
