from __future__ import annotations

import pytest

from geneface.serve.jobs.progress import Ended, Reporter, StepPlan


class Told:
    """What the store was told, on a clock that the test moves."""

    def __init__(self) -> None:
        self.now, self.said, self.is_ours = 100.0, [], True

    def send(self, percent: float, eta: float | None, steps: object) -> bool:
        self.said.append((percent, eta, steps))
        return self.is_ours

    def reporter(self, *plans: StepPlan) -> Reporter:
        return Reporter(plans, self.send, lambda: self.now)


def test_time_left_follows_the_speed_of_the_machine() -> None:
    told = Told()
    reporter = told.reporter(StepPlan("one", 1000), StepPlan("two", 3000))
    with reporter.step("one") as progress:
        assert told.said[-1][:2] == (0, 4000), "the guess, at first"
        told.now += 1000
        progress("x", 1, 2)
        # Half of what was expected to take 1000 s took 1000 s: this machine is twice as slow.
        assert told.said[-1][0] == pytest.approx(12.5) and told.said[-1][1] == pytest.approx(1000 + 6000, rel=0.02)
    told.now += 1000
    assert [step["status"] for step in reporter.steps()] == ["completed", "pending"]
    assert reporter.fraction() == 0.25


def test_stages_have_their_shares_and_never_go_back() -> None:
    told = Told()
    reporter = told.reporter(StepPlan("prepare", 10, {"scan": 1, "track": 3}))
    with reporter.step("prepare") as progress:
        seen = []
        for stage, done, total in (("scan", 1, 2), ("other", 5, 5), ("track", 0, 0), ("track", 2, 3), ("scan", 0, 2)):
            progress(stage, done, total)
            seen.append(reporter.fraction())
        assert seen == pytest.approx([0.125, 0.125, 0.25, 0.75, 0.75])
    assert reporter.fraction() == 1.0 and reporter.eta_seconds() == 0


def test_it_is_not_told_more_often_than_twice_a_second() -> None:
    told = Told()
    with told.reporter(StepPlan("render", 10)).step("render") as progress:
        for number in range(1000):
            told.now += 0.01
            progress("rendering", number, 1000)
    assert 15 <= len(told.said) <= 25


def test_a_job_that_is_no_longer_ours_ends_at_the_next_word() -> None:
    told = Told()
    reporter = told.reporter(StepPlan("render", 10))
    with pytest.raises(Ended), reporter.step("render") as progress:
        told.is_ours = False
        told.now += 1
        progress("rendering", 1, 2)
    assert not issubclass(Ended, Exception), "no handler of errors may swallow it"


def test_what_an_earlier_run_did_says_nothing_of_the_speed() -> None:
    told = Told()
    reporter = told.reporter(StepPlan("check", 20), StepPlan("prepare", 10_000, {"scan": 3, "track": 7}))
    reporter.skip("check")
    with reporter.step("prepare") as progress:
        # A file was there already.
        told.now += 0.01
        progress("scan", 1, 1)
        for number in range(1, 11):
            told.now += 1400
            progress("track", number, 20)
        # 3500 of 10000 expected seconds took 14000.
        assert reporter.slowness() == pytest.approx(4, rel=0.01)
        assert reporter.eta_seconds() == pytest.approx(3500 * 4, rel=0.01)
    assert reporter.fraction() == 1


def test_a_slow_start_is_no_slow_machine() -> None:
    told = Told()
    reporter = told.reporter(StepPlan("check", 16))
    with reporter.step("check") as progress:
        told.now += 8
        progress("scan", 1, 100)
        assert reporter.eta_seconds() < 40, "not 800"
