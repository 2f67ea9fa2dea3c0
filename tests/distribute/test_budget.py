"""What all shards together may do."""

from hypothesis import given
from hypothesis import strategies as st

from bulksubmit.distribute.budget import shares


@given(
    st.sets(st.integers(0, 1000), min_size=1, max_size=50),
    st.integers(0, 1000),
    st.none() | st.floats(0.1, 1e6),
)
def test_the_shares_are_the_whole(running: set[int], more: int, max_rate: float | None) -> None:
    """
    Requests in flight are divided without a rest, the rate evenly, and nobody gets none.
    """
    concurrency = len(running) + more

    divided = shares(sorted(running), concurrency=concurrency, max_rate=max_rate)

    assert divided.keys() == running
    assert sum(share.concurrency for share in divided.values()) == concurrency
    assert min(share.concurrency for share in divided.values()) >= 1
    if max_rate is not None:
        assert abs(sum(s.max_rate or 0.0 for s in divided.values()) - max_rate) < 1e-6 * max_rate


def test_nobody_has_no_share() -> None:
    assert shares([], concurrency=10, max_rate=None) == {}
