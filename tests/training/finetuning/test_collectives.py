"""What two workers tell each other, over gloo on one machine, and what one alone gets."""

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from m3ray.training.finetuning.collectives import all_gather, all_gather_objects, broadcast_object


def _as_worker(rank, folder):
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    found = {
        "tensors": all_gather(torch.arange(3) + 10 * rank),
        "transposed": all_gather(torch.arange(4).reshape(2, 2).T + 10 * rank),
        "objects": torch.tensor([ord(word) for word in all_gather_objects("ab"[rank], 2)]),
        "first": torch.tensor(broadcast_object({"rank": rank + 5}, 2)["rank"]),
    }
    torch.save(found, f"{folder}/{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()


def test_all_workers_get_what_all_gave_in_their_order(tmp_path):
    mp.spawn(_as_worker, (str(tmp_path),), nprocs=2)
    for rank in range(2):
        found = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        assert found["tensors"].tolist() == [0, 1, 2, 10, 11, 12]
        assert found["transposed"].tolist() == [[0, 2], [1, 3], [10, 12], [11, 13]]
        assert found["objects"].tolist() == [ord("a"), ord("b")]
        assert found["first"].item() == 5


def test_one_worker_needs_no_process_group():
    own = {"x": 1}
    assert all_gather_objects(own, 1) == [own]
    assert broadcast_object(own, 1) is own
