import pytest

from prometheus.domain.orders import OrderName


@pytest.mark.parametrize("account", ["ACC-1", "a:b", "Account 7:RUN-001:2"])
@pytest.mark.parametrize(("seq", "line", "text"), [(1, 1, "RUN-001:1"), (1234, 17, "RUN-1234:17")])
def test_an_order_is_called_by_account_run_and_line_and_read_back(account, seq, line, text):
    """The client order id says account, run and line, whatever signs an account's name has."""
    name = OrderName(account, seq, line)
    assert str(name) == f"{account}:{text}"
    assert OrderName.parse(str(name)) == name


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "ACC-1:RUN-001",
        "ACC-1:RUN-01:1",
        "ACC-1:RUN-0001:1",
        "ACC-1:RUN-001:0",
        "ACC-1:RUN-001:1 ",
        ":RUN-001:1",
    ],
)
def test_other_names_are_none_of_ours(text):
    """Only the one way to write a name is one, so that no two texts mean the same order."""
    assert OrderName.parse(text) is None
