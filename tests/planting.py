"""Pickles that would run code, planted wherever Ray, torch, NumPy and joblib look."""

import builtins
import io
import json
import os
import pickle

import numpy as np
import torch

STAMP = "2026-01-02_03-04-05"


# Folders that Ray, or an older m3ray, would look into; those that the jobs make are walked.
LOOKED_INTO = (
    "study/search/tune",
    "study/search/tune/trial_0/checkpoint_000000",
    "study/ablation/tune",
    "study/own/tune",
    "study/ablation/unfrozen/m3-s-unfrozen-0/step-00000001",
    "artifacts/checkpoints",
    "predict",
    "evaluation",
    "rejects",
)


class Bad:
    """Unpickled, it makes a file."""

    def __init__(self, marker):
        self.marker = str(marker)

    def __reduce__(self):
        return builtins.open, (self.marker, "a")


def planted_files(marker):
    """Name to content of what Ray, torch, numpy and joblib would look for."""
    plain = pickle.dumps(Bad(marker))
    wrapped = {"_type": "CLOUDPICKLE_FALLBACK", "value": plain.hex()}
    state = json.dumps({"trial_data": [[wrapped, wrapped]], "runner_data": wrapped, "stats": wrapped}).encode()
    tensors, array, arrays = io.BytesIO(), io.BytesIO(), io.BytesIO()
    torch.save({"model": Bad(marker)}, tensors)
    np.save(array, np.array([Bad(marker)], object), allow_pickle=True)
    np.savez(arrays, a=np.array([Bad(marker)], object))
    pickles = ("tuner.pkl", "trainable.pkl", "searcher-state.pkl", f"searcher_state-{STAMP}.pkl", "params.pkl")
    pickles += (f"search_gen_state-{STAMP}.pkl", f"scheduler-state-{STAMP}.pkl", f"callback_states-{STAMP}.pkl")
    pickles += ("error.pkl", "data.pkl", "cache.joblib", "run.pickle", ".tune_metadata", "_dict_checkpoint")
    states = (f"experiment_state-{STAMP}.json", f"search_gen_state-{STAMP}.json", "settings.json.bak")
    torches = ("state.pt", "model.pt", "checkpoint.pt", "model.pth", "optimizer.bin")
    return (
        dict.fromkeys(pickles, plain)
        | dict.fromkeys(states, state)
        | dict.fromkeys(torches, tensors.getvalue())
        | {"features.npy": array.getvalue(), "features.npz": arrays.getvalue()}
    )


def plant(root, marker):
    """Every folder of a root gets every file that is not there; the pickles that are there are replaced."""
    for folder in LOOKED_INTO:
        (root / folder).mkdir(parents=True, exist_ok=True)
    folders, files = [path for path, _, _ in os.walk(root)], planted_files(marker)
    for folder in folders:
        for name, content in files.items():
            path = os.path.join(folder, name)
            if not os.path.exists(path):
                with open(path, "wb") as file:
                    file.write(content)
    for path in root.rglob("*.pkl"):
        path.write_bytes(files["tuner.pkl"])
    return len(folders)
