"""What is known of the processes before the first step."""

import pytest

from slowfast_mlp.distributed.preflight import RankInfo, check_own_devices, differing_versions, table
from slowfast_mlp.errors import UserError


def row(rank, **changed):
    usual = dict(
        rank=rank,
        host="n1",
        pid=100 + rank,
        device=f"cuda:{rank} H200",
        device_id=f"uuid-{rank}",
        torch="2.15.0",
        cuda="13.2",
        python="3.11.2",
        slowfast_mlp="0.1.0",
    )
    return RankInfo(**(usual | changed))


def test_the_table_has_a_line_a_process_in_columns():
    assert table([row(0), row(1, host="n2-long")]).splitlines() == [
        "rank  host     pid  device       torch   cuda  python  slowfast_mlp",
        "0     n1       100  cuda:0 H200  2.15.0  13.2  3.11.2  0.1.0",
        "1     n2-long  101  cuda:1 H200  2.15.0  13.2  3.11.2  0.1.0",
    ]


def test_two_processes_on_one_gpu_are_refused_by_their_ranks():
    with pytest.raises(UserError, match="Ranks 1 and 2 both have cuda:1 H200 of n1"):
        check_own_devices([row(0), row(1), row(2, device="cuda:1 H200", device_id="uuid-1")])


def test_processes_may_share_a_cpu_and_numbers_of_gpus_on_other_machines():
    check_own_devices([row(0, device="cpu", device_id=""), row(1, device="cpu", device_id="")])
    check_own_devices([row(0), row(1, host="n2", device_id="uuid-0")])


def test_versions_that_differ_are_told_with_the_ranks_that_have_them():
    assert differing_versions([row(0), row(1)]) == []
    assert differing_versions([row(0), row(1, torch="2.6.0"), row(2)]) == [
        "the processes have different versions of torch: 2.15.0 on ranks 0, 2; 2.6.0 on ranks 1"
    ]
