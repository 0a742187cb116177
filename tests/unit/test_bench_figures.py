"""How the benchmarks read their own figures."""

from bars import BARS, Bar
from peers.effort import QUICK, Effort
from peers.loads.measured import figures
from peers.report import share_of_the_best


def test_a_bar_is_cleared_at_its_very_figure_and_missed_just_beside_it():
    share = Bar("share", "some.json", lambda found: found["share"], at_least=0.95)
    wait = Bar("wait", "some.json", lambda found: found["wait"], at_most=1.2)
    assert share.is_cleared(0.95)
    assert not share.is_cleared(0.9499)
    assert wait.is_cleared(1.2)
    assert not wait.is_cleared(1.21)


def test_every_bar_says_what_is_wanted_and_which_file_shows_it():
    assert len({bar.promise for bar in BARS}) == len(BARS)
    assert all(bar.wanted[0] in "≥≤–" and bar.file.endswith(".json") for bar in BARS)


def test_overload_is_judged_by_the_heaviest_load_beside_the_best_point():
    goodputs = {"x0.5": 50.0, "x1": 98.0, "x2": 100.0, "x5": 92.0}
    found = {cell: {"peer": {"goodput_per_second": rate}} for cell, rate in goodputs.items()}
    assert share_of_the_best(found, "peer") == 0.92
    assert share_of_the_best(found, "yunmo") == 0.0


def test_rounds_of_one_load_can_be_put_together_whatever_the_others_sizes_are():
    longer = Effort(overload_seconds=9.0)
    assert longer.of("encoders") == Effort().of("encoders")
    assert longer.of("overload") != Effort().of("overload")
    assert QUICK.of("bert") != Effort().of("bert")
    assert set(Effort().of("chat")) == {"chat_clients", "chat_tokens"}
    assert Effort().of("cold_start") == {}


def test_rounds_become_medians_and_single_observations_quantiles_over_all_rounds():
    rounds = [{"x1": {"peer": {"rate": rate, "firsts": [rate, rate]}}} for rate in (1.0, 3.0, 2.0)]
    assert figures(rounds)["x1"]["peer"] == {"rate": 2.0, "firsts_p50": 2.0, "firsts_p95": 3.0}
