"""The arithmetic of a benchmark: order, medians, spread, ratios."""

import pytest

from slowfast_mlp.apps.timing import CallTime, measure, speedup, summarize, time_call


def test_a_round_runs_all_in_order_and_then_in_reverse_after_one_unmeasured_run():
    ran = []
    measure({name: lambda name=name: ran.append(name) for name in "ABC"}, num_rounds=2)
    assert "".join(ran) == "ABC" + "ABCCBA" + "ABCCBA"


def test_every_subject_has_two_costs_a_round():
    seconds = iter(range(100))

    def cost(work):
        work()
        return CallTime(next(seconds), 0.0)

    costs = measure({"A": lambda: None, "B": lambda: None}, num_rounds=2, cost=cost)
    assert [cost.cpu_sec for cost in costs["A"]] == [0, 3, 4, 7]
    assert [cost.cpu_sec for cost in costs["B"]] == [1, 2, 5, 6]


def test_the_cost_of_work_that_computes_is_time_of_the_processor():
    cost = time_call(lambda: sum(range(1_000_000)))
    assert cost.cpu_sec > 0 and cost.wall_sec > 0


def test_median_and_quartiles_lie_between_the_nearest_figures():
    figures = summarize([4.0, 1.0, 3.0, 2.0, 5.0])
    assert (figures.p25, figures.median, figures.p75) == (2.0, 3.0, 4.0)
    assert summarize([1.0, 2.0]).median == 1.5


def test_one_figure_is_its_own_median_without_spread():
    assert summarize([7.0]).median == 7.0
    assert summarize([7.0]).spread == 0.0


@pytest.mark.parametrize(
    ("figures", "spread", "is_noisy"),
    [
        ([95.0, 95.0, 100.0, 105.0, 105.0], 10.0, False),  # 95 to 105 of 100
        ([94.0, 94.0, 100.0, 105.0, 105.0], 11.0, True),
        ([1.0, 100.0, 100.0, 100.0, 900.0], 0.0, False),  # outliers do not count
    ],
)
def test_a_figure_is_noisy_when_its_quartiles_are_over_ten_percent_apart(figures, spread, is_noisy):
    assert summarize(figures).spread == pytest.approx(spread)
    assert summarize(figures).is_noisy is is_noisy


def test_a_ratio_compares_pass_by_pass_so_that_a_slow_minute_cancels_out():
    # The last two passes ran on a machine three times as slow.
    assert speedup([1.0, 1.0, 3.0, 3.0], [4.0, 4.0, 12.0, 12.0]).median == 4.0


def test_a_ratio_of_other_numbers_of_passes_is_refused():
    with pytest.raises(ValueError):
        speedup([1.0], [1.0, 2.0])
