"""Makes ip_csn_152.npz and ir_csn_152.npz and their keys, by torchvision's video ResNet with separated channels.

    cd tests && python -m golden.make_csn [--check]

The first figures came from VMZ's own code (github.com/facebookresearch/VMZ), which builds CSN on torchvision's
`VideoResNet`; so does this script, with the two kinds of convolution that VMZ adds. It gives VMZ's figures within 1e-15
and VMZ's keys with torchvision 0.29.1 and PyTorch 2.14.1; it takes minutes of two processor cores.
"""

import json
import sys
from functools import partial

import torch
from golden.reference_files import write_or_check
from recipes import GOLDEN, fill
from torch import nn
from torchvision.models.video.resnet import Bottleneck, VideoResNet

SEED, SHAPE = 2, (1, 3, 8, 128, 128)


class Reduced(nn.Conv3d):
    """`ir`: a depthwise convolution, whose stride is the shortcut's too."""

    def __init__(self, inputs, outputs, midplanes=None, stride=1, padding=1):
        super().__init__(inputs, outputs, 3, stride, padding, groups=inputs, bias=False)

    @staticmethod
    def get_downsample_stride(stride):
        return (stride, stride, stride)


class Preserved(nn.Sequential):
    """`ip`: a 1x1x1 convolution and its norm before the depthwise one."""

    def __init__(self, inputs, outputs, midplanes=None, stride=1, padding=1):
        pointwise = nn.Conv3d(inputs, outputs, 1, bias=False)
        super().__init__(pointwise, nn.BatchNorm3d(outputs), Reduced(outputs, outputs, None, stride, padding))

    get_downsample_stride = Reduced.get_downsample_stride


class Stem(nn.Sequential):
    """VMZ's stem: that of 2D networks, three frames deep."""

    def __init__(self):
        convolution = nn.Conv3d(3, 64, (3, 7, 7), (1, 2, 2), (1, 3, 3), bias=False)
        pool = nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1))
        super().__init__(convolution, nn.BatchNorm3d(64), nn.ReLU(inplace=True), pool)


def build(convolution):
    network = VideoResNet(Bottleneck, [convolution] * 4, [3, 8, 36, 3], Stem, num_classes=400)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm3d):
            module.eps = 1e-3
    return network.eval()


def keys(convolution):
    """Every key of the state dict with its shape, the classifier's included."""
    with torch.device("meta"):
        return {key: list(value.shape) for key, value in build(convolution).state_dict().items()}


def compute(convolution):
    network = build(convolution)
    # The weights are filled in float32, as files hold them; the figures are computed in float64.
    network.load_state_dict(fill(network.state_dict()))
    network.fc = nn.Identity()
    x = torch.randn(SHAPE, generator=torch.Generator().manual_seed(SEED), dtype=torch.float64)
    with torch.inference_mode():
        return {"seed": SEED, "shape": SHAPE, "features": network.double()(x).numpy()}


NETWORKS = {"ip_csn_152": Preserved, "ir_csn_152": Reduced}


if __name__ == "__main__":
    for name, convolution in NETWORKS.items():
        file = GOLDEN / f"{name}.keys.json"
        if "--check" in sys.argv:
            print(f"{file.name}: {'the same' if json.loads(file.read_text()) == keys(convolution) else 'DIFFERENT'}")
        else:
            file.write_text(json.dumps(keys(convolution), indent=0))
    write_or_check(__doc__, *((name, partial(compute, convolution)) for name, convolution in NETWORKS.items()))
