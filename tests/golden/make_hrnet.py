"""Makes hrnetv2_w48.npz by timm's HRNet-W48, which is no dependency of m3ray: `pip install timm` first.

    cd tests && python -m golden.make_hrnet [--check]

The first figures came from CSAIL's own code (github.com/CSAILVision/semantic-segmentation-pytorch, the encoder of
`ade20k-hrnetv2-c1`), and so did hrnetv2_w48.keys.json, which this script reads: timm's network has layers beyond these.
timm enlarges branches by nearest neighbours, CSAIL bilinearly: the script sets that, and pools the four branches as
CSAIL's decoder sees them. It gives CSAIL's figures within 1e-14 with timm 1.0.31 and PyTorch 2.14.1, in minutes of two
processor cores.
"""

import json

import timm
import torch
from golden.reference_files import write_or_check
from recipes import GOLDEN, fill
from torch import nn
from torch.nn import functional

SEED, SHAPE = 1, (2, 3, 256, 256)


def build():
    network = timm.create_model("hrnet_w48", pretrained=False, num_classes=0).eval()
    for module in network.modules():
        if isinstance(module, nn.Upsample):
            module.mode, module.align_corners = "bilinear", False
    keys = json.loads((GOLDEN / "hrnetv2_w48.keys.json").read_text())
    state = network.state_dict()
    assert all(list(state[key].shape) == shape for key, shape in keys.items())
    network.load_state_dict(fill({key: state[key] for key in keys}), strict=False)
    return network


def compute():
    # The weights are filled in float32, as files hold them; the figures are computed in float64.
    network = build().double()
    x = torch.randn(SHAPE, generator=torch.Generator().manual_seed(SEED), dtype=torch.float64)
    with torch.inference_mode():
        x = network.act1(network.bn1(network.conv1(x)))
        x = network.act2(network.bn2(network.conv2(x)))
        branches = network.stages(x)
        size = branches[0].shape[-2:]
        enlarged = [functional.interpolate(b, size=size, mode="bilinear", align_corners=False) for b in branches]
        features = torch.cat(enlarged, dim=1).mean(dim=(2, 3))
    return {"seed": SEED, "shape": SHAPE, "features": features.numpy()}


if __name__ == "__main__":
    write_or_check(__doc__, ("hrnetv2_w48", compute))
