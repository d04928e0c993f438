"""The ledger: questions declared before they are run, experiments that measure, a rule that judges.

`record` what is asked, `evidence` what is measured, `rule` from one to an answer, `experiments` the
functions, `worlds` the data they run on, `runner` looks and resumes, `results` keeps, `cards` shows.
"""
