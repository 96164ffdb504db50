"""How ranks meet, and what is said when one does not come. Several ranks in one process, each with a
connection of its own, as threads.
"""

import socket
from concurrent.futures import ThreadPoolExecutor

import pytest

from slowfast_mlp.distributed import rendezvous
from slowfast_mlp.errors import UserError
from tests.distributed.test_preflight import row


@pytest.fixture
def place(monkeypatch):
    """A free port of this machine, as MASTER_ADDR and MASTER_PORT."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", str(port))
    return port


def come(ranks, *, world_size, timeout_sec=20.0, **changed):
    """The outcome for each of these ranks: None, or what was raised."""

    def one(rank):
        try:
            rendezvous.wait_for_ranks(
                stores[rank], row(rank, **changed), world_size=world_size, timeout_sec=timeout_sec
            )
        except UserError as error:
            return error
        return None

    stores = {rank: rendezvous.open_store(serve=rank == 0, timeout_sec=20.0) for rank in ranks}
    with ThreadPoolExecutor(len(ranks)) as pool:
        return list(pool.map(one, ranks))


def test_ranks_that_all_come_begin(place):
    assert come([0, 1, 2], world_size=3) == [None, None, None]


def test_a_rank_that_does_not_come_is_named_on_all_that_did(place):
    first, second = come([0, 2], world_size=4, timeout_sec=1.0)
    assert "2 of 4 processes did not come within DIST_TIMEOUT_SEC 1: ranks 1, 3. 2 came, from n1." in str(
        first
    )
    assert isinstance(second, rendezvous.EndedByOther)
    assert "rank 2 on n1 ends with rank 0, which found: 2 of 4 processes" in str(second)


def test_two_ranks_on_one_gpu_end_before_the_first_exchange(place):
    first, second = come([0, 1], world_size=2, device_id="uuid", device="cuda:0 H200")
    assert "Ranks 0 and 1 both have cuda:0 H200 of n1" in str(first)
    assert isinstance(second, rendezvous.EndedByOther)


def test_a_rank_0_that_cannot_be_reached_is_named_with_its_place(place):
    with pytest.raises(UserError, match=rf"reached at MASTER_ADDR 127.0.0.1, MASTER_PORT {place} within 1 s"):
        rendezvous.open_store(serve=False, timeout_sec=1.0)


def test_a_port_that_another_program_has_is_named(place):
    with socket.socket() as other:
        other.bind(("0.0.0.0", place))
        other.listen()
        with pytest.raises(UserError, match=f"Rank 0 cannot open MASTER_PORT {place}"):
            rendezvous.open_store(serve=True, timeout_sec=1.0)


def test_a_launcher_that_does_not_say_where_to_meet_is_told_so(monkeypatch):
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    monkeypatch.setenv("MASTER_PORT", "1")
    with pytest.raises(UserError, match="are set, but not MASTER_ADDR"):
        rendezvous.open_store(serve=True, timeout_sec=1.0)


def test_an_init_method_that_is_no_tcp_address_is_refused():
    with pytest.raises(UserError, match="'n1:29500': give tcp://FIRST_MACHINE:PORT"):
        rendezvous.set_address("n1:29500")


def test_the_first_failure_of_a_run_is_the_one_that_all_name(place):
    one, other = (rendezvous.open_store(serve=serve, timeout_sec=5.0) for serve in (True, False))
    assert rendezvous.first_failure(one) is None
    assert rendezvous.claim_failure(other, "rank 1 failed: a bug") is None
    assert rendezvous.claim_failure(one, "rank 0 failed: connection lost") == "rank 1 failed: a bug"
    assert rendezvous.first_failure(one) == "rank 1 failed: a bug"


def test_a_restarted_attempt_does_not_see_the_failure_of_the_one_before(place, monkeypatch):
    before = rendezvous.open_store(serve=True, timeout_sec=5.0)
    rendezvous.claim_failure(before, "rank 1 failed: killed")
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    assert rendezvous.first_failure(rendezvous.open_store(serve=False, timeout_sec=5.0)) is None
