"""Grading from outside: submissions run in a sandbox, and only plain arrays leave it.

`intake` finds what was handed in and puts the answers into the release's notebook, `sandbox` runs
it, `grade` compares what comes back, `book` keeps records and turns them into grades and feedback.
`workers` spread that over processes or a cluster, `coordinator` does it for a class, `commands` is
the command line; `nbgrader` and `assignments` put the same into an nbgrader course.
"""
