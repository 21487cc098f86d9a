"""Groups of runs side by side."""

import threading

import torch

from m3ray.training.parallel import train_side_by_side


def note(threads):
    def train(group):
        threads.append((threading.current_thread(), torch.get_num_threads()))
        return group * 10

    return train


def test_groups_keep_their_order_and_meet_on_threads():
    """Each waits for the other: one after the other they would wait for ever."""
    meeting = threading.Barrier(2, timeout=60)

    def train(group):
        meeting.wait()
        return group * 10

    assert train_side_by_side(train, [1, 2], 2) == [10, 20]


def test_cores_beyond_the_groups_are_threads_of_each():
    threads, before = [], torch.get_num_threads()
    assert train_side_by_side(note(threads), [1, 2], 7) == [10, 20]
    assert [count for _, count in threads] == [3, 3]
    assert torch.get_num_threads() == before


def test_one_group_stays_on_its_thread():
    threads = []
    train_side_by_side(note(threads), [1], 4)
    assert threads == [(threading.current_thread(), 4)]


def test_without_a_number_of_cores_nothing_is_changed():
    threads, before = [], torch.get_num_threads()
    assert train_side_by_side(note(threads), [1, 2], None) == [10, 20]
    assert threads == [(threading.current_thread(), before)] * 2
