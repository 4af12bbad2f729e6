"""Each bad call ends with one line that names the argument and says what was expected.

The calls run in one process of their own, without the type checks that are on during tests.
"""

import commits
import errors
import pytest
from bad_calls import CALLS, COMMANDS

OWN = ("InputError; ", "DataError; ", "StoreError; ", f"{errors.SIGNATURE}; ")
"""What a call may end with: errors of gdjax, or Python's own where a signature forbids the call."""


@pytest.fixture(scope="module")
def rows():
    return commits.run(errors.__file__, {"here": commits.ROOT})["here"]


@pytest.mark.parametrize(("call", "argument", "expected"), CALLS)
def test_a_bad_call_is_refused_in_one_line(rows, call, argument, expected):
    row = rows[call]
    assert row.startswith(OWN)
    assert f"; names {argument}; " in row
    assert expected in row
    assert "more lines" not in row


@pytest.mark.parametrize(("line", "argument", "expected"), COMMANDS)
def test_a_bad_command_line_ends_with_2_and_says_why(rows, line, argument, expected):
    row = rows[f"gdjax {line}"]
    assert row.startswith("exit 2; ")
    assert f"; names {argument}; " in row
    assert expected in row
