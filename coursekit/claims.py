"""What became of the claims of the course: `show` one, or all of a `lesson`; the `source` of one.

The questions, the rule that answers them and the numbers live in `coursekit.ledger`.
"""

import inspect

from coursekit.ledger.figures import lesson, show

__all__ = ["lesson", "show", "source"]


def source(id: str):
    """Show the code of the experiment that measures a claim, as a notebook displays code.

    Parameters
    ----------
    id : str
        As in "C42".

    Raises
    ------
    ValueError
        If there is no such claim, or nothing measures it yet.

    Examples
    --------
    >>> from coursekit import claims
    >>> print(claims.source("C62").data.splitlines()[0])
    @experiment("C62")
    """
    from IPython.display import Code

    from coursekit.ledger.experiments import find

    return Code(inspect.getsource(find(id).function), language="python")
