"""What operators do to memory, counted."""

import torch
from torch import nn
from torch.nn import functional as F

from slowfast_mlp.benchmarks.memory_traffic import measure_traffic, saved_bytes


def test_an_operator_reads_its_inputs_and_writes_its_output_once():
    a, b = torch.ones(10, 20), torch.ones(20)
    traffic = measure_traffic(lambda: a + b)
    assert (traffic.kernels, traffic.bytes_moved) == (1, 4 * (200 + 20 + 200))


def test_a_view_is_free_and_a_broadcast_counts_what_it_repeats_once():
    a = torch.ones(4, 6)
    assert measure_traffic(lambda: a.view(2, 12).transpose(0, 1)[3:].unsqueeze(0)).kernels == 0
    row = torch.ones(6).expand(4, 6)
    assert measure_traffic(lambda: a * row).bytes_moved == 4 * (24 + 6 + 24)


def test_an_operator_in_place_reads_and_writes_its_first_argument_and_a_fill_only_writes():
    a, b = torch.ones(10), torch.ones(10)
    assert measure_traffic(lambda: a.add_(b)).bytes_moved == 4 * 30
    assert measure_traffic(lambda: a.zero_()).bytes_moved == 4 * 10
    assert measure_traffic(lambda: a.copy_(b)).bytes_moved == 4 * 20
    assert measure_traffic(lambda: torch.mul(a, b, out=a.new_empty(10))).bytes_moved == 4 * 30


def test_only_copies_into_another_order_are_permute_copies():
    a = torch.ones(2, 3, 5)
    assert measure_traffic(lambda: a.clone()).permute_copies == []
    assert measure_traffic(lambda: a.to(torch.float64)).permute_copies == []
    assert measure_traffic(lambda: a.transpose(0, 2).reshape(5, 6)).permute_copies == [30]
    assert measure_traffic(lambda: a.transpose(1, 2).contiguous()).permute_copies == [30]
    assert measure_traffic(
        lambda: a.transpose(0, 2).to(torch.bfloat16, memory_format=torch.contiguous_format)
    ).kernels


def test_the_peak_is_of_what_is_alive_together():
    def work():
        first = torch.ones(1000)  # 4000 bytes
        second = first + 1  # 8000
        del first
        third = second + 1  # 8000 again
        return third

    assert measure_traffic(work).peak_bytes == 8000


def test_meta_tensors_are_counted_as_those_with_memory():
    net = nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 4))
    x = torch.ones(5, 8)
    here = measure_traffic(lambda: net(x).sum().backward())
    net.zero_grad()
    net, x = net.to("meta"), x.to("meta")
    there = measure_traffic(lambda: net(x).sum().backward())
    assert here == there


def test_what_autograd_keeps_counts_once_and_without_parameters():
    layer, x = nn.Linear(8, 8), torch.ones(5, 8)
    with saved_bytes() as saved:
        layer(x)
        assert saved() == 4 * 5 * 8
        layer(x)
        assert saved() == 4 * 5 * 8
        F.gelu(layer(x))
        assert saved() == 4 * (5 * 8 + 5 * 8)
