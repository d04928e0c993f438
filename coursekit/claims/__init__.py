"""The ledger: what others assert, the experiments that decide it, and what became of it."""

from coursekit.claims.claim import JUDGEMENTS, Claim, board, ledger, settle
from coursekit.claims.experiments import run, source
from coursekit.claims.results import stored, table
from coursekit.ledger.figures import lesson, show

__all__ = [
    "JUDGEMENTS",
    "Claim",
    "board",
    "ledger",
    "lesson",
    "run",
    "settle",
    "show",
    "source",
    "stored",
    "table",
]
