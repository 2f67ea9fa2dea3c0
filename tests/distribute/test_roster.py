"""Which shard is where."""

from hypothesis import given
from hypothesis import strategies as st

from bulksubmit.distribute.roster import LOSSES_MAX, Roster


def test_shards_are_handed_out_in_order_as_many_as_the_window_holds() -> None:
    roster = Roster([3, 4, 5])

    assert [roster.hand_out(2) for _ in range(3)] == [3, 4, None]


def test_a_worker_that_is_lost_makes_room_when_its_executor_says_so() -> None:
    roster = Roster([0, 1])
    assert roster.hand_out(1) == 0
    generation = roster.begin(0)
    assert generation == 1

    roster.disconnected(0, 1, "killed")
    assert roster.hand_out(1) is None
    roster.returned(0, "WorkerLost")

    assert roster.hand_out(1) == 0
    assert roster.begin(0) == 2


def test_an_older_generation_is_not_heeded() -> None:
    """
    An executor starts a call again by itself: the worker that comes second is the one.
    """
    roster = Roster([0])
    roster.hand_out(1)
    roster.begin(0)
    roster.begin(0)

    assert not roster.is_current(0, 1)
    assert roster.is_current(0, 2)
    roster.disconnected(0, 1, "late")
    assert roster.running == [0]


def test_nothing_is_to_be_done_of_what_has_ended() -> None:
    roster = Roster([0])
    roster.hand_out(1)
    roster.begin(0)
    roster.end(0)

    assert roster.begin(0) is None
    assert roster.begin(7) is None
    assert roster.over


def test_a_shard_that_ends_worker_after_worker_is_left_alone() -> None:
    roster = Roster([0, 1])
    for _ in range(LOSSES_MAX):
        assert roster.hand_out(1) == 0
        generation = roster.begin(0)
        assert generation is not None
        roster.disconnected(0, generation, "gone")
        roster.returned(0, "killed by SIGKILL")

    assert roster.poisoned == {0: "killed by SIGKILL"}
    assert roster.hand_out(1) == 1
    assert roster.begin(0) is None


def test_losses_count_only_in_a_row() -> None:
    """
    Whoever settles a task before it dies has not been killed by its shard.
    """
    roster = Roster([0])
    for _ in range(3 * LOSSES_MAX):
        assert roster.hand_out(1) == 0
        generation = roster.begin(0)
        assert generation is not None
        roster.settled(0)
        roster.disconnected(0, generation, "gone")
        roster.returned(0, "gone")

    assert not roster.poisoned


def test_one_loss_is_counted_once_however_often_it_is_told() -> None:
    roster = Roster([0])
    for _ in range(LOSSES_MAX - 1):
        roster.hand_out(1)
        roster.begin(0)
        roster.disconnected(0, 99, "nobody of that generation")
        roster.disconnected(0, roster._entries[0].generation, "gone")  # noqa: SLF001
        roster.returned(0, "gone")

    assert not roster.poisoned
    assert roster.hand_out(1) == 0


def test_a_call_that_never_reached_a_worker_counts_as_a_loss() -> None:
    roster = Roster([0])
    for _ in range(LOSSES_MAX):
        roster.hand_out(1)
        roster.returned(0, "no module named bulksubmit")

    assert roster.over
    assert roster.poisoned


def test_a_shard_that_comes_back_goes_before_those_that_follow_it() -> None:
    roster = Roster([4, 5, 6])
    assert [roster.hand_out(2), roster.hand_out(2)] == [4, 5]

    roster.returned(4, "gone")

    assert roster.hand_out(2) == 4
    assert roster.hand_out(3) == 6


def test_a_shard_that_waits_may_be_begun_by_a_worker_that_was_thought_lost() -> None:
    """
    It is not handed out a second time then, and nothing is waited for when it has ended.
    """
    roster = Roster([0])
    roster.hand_out(1)
    roster.returned(0, "gone")

    assert roster.begin(0) == 1
    assert roster.hand_out(2) is None
    roster.end(0)
    assert roster.over
    assert roster.hand_out(2) is None


@given(st.lists(st.tuples(st.sampled_from("hbdrse"), st.integers(0, 3)), max_size=60))
def test_whatever_happens_each_shard_ends_once(happenings: list[tuple[str, int]]) -> None:
    """
    At most one generation of a shard is heeded, and what has ended stays so.
    """
    roster = Roster(range(4))
    newest: dict[int, int] = {}
    ended: set[int] = set()
    for what, number in happenings:
        generation = newest.get(number, 0)
        match what:
            case "h":
                handed = roster.hand_out(2)
                assert handed not in ended
            case "b":
                begun = roster.begin(number)
                assert begun is None or (begun == generation + 1 and number not in ended)
                newest[number] = begun or generation
            case "d":
                roster.disconnected(number, generation, "gone")
            case "r":
                roster.returned(number, "gone")
            case "s":
                roster.settled(number)
            case "e" if roster.is_current(number, generation):
                roster.end(number)
                ended.add(number)
        assert all(not roster.is_current(n, newest.get(n, 0) - 1) for n in range(4))
    while (handed := roster.hand_out(4)) is not None:
        roster.begin(handed)
        roster.end(handed)
    for number in {*range(4)} - ended:
        roster.end(number)
    assert roster.over
