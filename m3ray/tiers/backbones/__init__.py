"""The published networks, as readable modules whose keys are those of the published files."""

from m3ray.tiers.backbones.csn import CSN, ip_csn_152, ir_csn_152
from m3ray.tiers.backbones.hrnet import HRNetV2, hrnetv2_w48
from m3ray.tiers.backbones.prepare import fill_untrained_, prepare_network
from m3ray.tiers.backbones.weights import fetch, load_weights, sha256_of

__all__ = [
    "CSN",
    "HRNetV2",
    "fetch",
    "fill_untrained_",
    "hrnetv2_w48",
    "ip_csn_152",
    "ir_csn_152",
    "load_weights",
    "prepare_network",
    "sha256_of",
]
