import threading

import pytest
import torch

from sklearn_sprites._engine.workers import one_core, side_by_side


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def threads_of_a_new_thread():
    found = []
    asking = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
    asking.start()
    asking.join()
    return found[0]


@pytest.mark.usefixtures("two_threads")
def test_work_is_shared_and_comes_back_in_order():
    barrier = threading.Barrier(2)  # one thread alone would wait in vain

    def work(item):
        if item < 2:
            barrier.wait(60)
        assert torch.get_num_threads() == 1
        assert not torch.is_grad_enabled()
        return 10 * item, threading.get_ident()

    found = side_by_side(work, range(5), "cpu")
    assert [value for value, _ in found] == [0, 10, 20, 30, 40]
    assert len({thread for _, thread in found}) == 2
    assert torch.is_grad_enabled()


@pytest.mark.usefixtures("two_threads")
def test_counts_of_threads_are_as_before_also_after_an_error():
    def fail(item):
        raise ZeroDivisionError(f"item {item}")

    with pytest.raises(ZeroDivisionError, match="item 0"):
        side_by_side(fail, range(3), "cpu")
    assert torch.get_num_threads() == 2
    assert threads_of_a_new_thread() == 2


@pytest.mark.usefixtures("two_threads")
def test_what_is_alone_has_one_core_too():
    found = side_by_side(lambda _: torch.get_num_threads(), range(1), "cpu")
    assert found == [1]
    assert torch.get_num_threads() == threads_of_a_new_thread() == 2


def test_one_thread_is_no_reason_for_another():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        threads = side_by_side(lambda _: threading.get_ident(), range(3), "cpu")
    finally:
        torch.set_num_threads(before)
    assert set(threads) == {threading.get_ident()}
    assert side_by_side(str, [], "cpu") == []


@pytest.mark.usefixtures("two_threads")
def test_one_core_holds_inside_and_after_blocks_inside_of_it():
    with one_core():
        with one_core():
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 1
        workers = side_by_side(lambda _: threading.get_ident(), range(2), "cpu")
        assert workers == [threading.get_ident()] * 2
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == threads_of_a_new_thread() == 2


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("goes_first", [True, False])
def test_threads_that_meet_leave_the_counts_that_the_first_one_found(goes_first):
    may_go, is_inside, counts = threading.Event(), threading.Event(), []

    def other():
        with one_core():
            is_inside.set()
            may_go.wait(60)
        counts.append(torch.get_num_threads())

    thread = threading.Thread(target=other)
    with one_core():
        thread.start()
        assert is_inside.wait(60)
        if goes_first:
            may_go.set()
            thread.join()
            assert torch.get_num_threads() == 1
    may_go.set()
    thread.join()
    assert counts == [2]
    assert torch.get_num_threads() == threads_of_a_new_thread() == 2
