"""Every situation of situations.toml is held by tests that are there."""

import re
from pathlib import Path

from situations import HERE, table


def test_every_situation_names_tests_that_are_there():
    missing = []
    for part in table().values():
        for situation, tests in part.items():
            assert tests, situation
            for test in tests:
                file, _, name = test.partition("::")
                text = Path(HERE, file).read_text(encoding="utf-8")
                if name and not re.search(rf"^def {name}\(", text, re.M):
                    missing.append(test)
    assert missing == []
