"""The playground: any regularizer on any data of the course, trained while you watch.

`show` opens it in JupyterLab; what it trains, `train` and plain lines of code train as well.
"""

from coursekit.playground.board import Playground, show
from coursekit.playground.setting import Setting
from coursekit.playground.training import train

__all__ = ["Playground", "Setting", "show", "train"]
