"""The ledger: questions that are declared before they are run, and answered by a rule.

`record` says what is asked, `experiments` measure in one of the `worlds`, `evidence` is what they
return, `rule` judges it, `runner` looks and resumes, `results` keeps, `cards` and `figures` show,
`export` writes tables, `rates` simulates how often the rule is wrong.
"""
