"""Errors that m3ray raises on purpose. Each says what was got, what was expected and what to do next.

M3RayError                    exit status 1
├── UserError                 exit status 2: the request itself cannot be carried out
│   ├── ConfigError           an option is unknown or contradicts another
│   ├── SchemaError           a table lacks a column, repeats an id, holds an impossible value
│   ├── WeightsError          a weight file is missing, damaged, of another network or hash
│   ├── RootBusyError         another job works on the same root
│   │   └── LostLockError     the root is another job's by now (exit status 1: something was written)
│   ├── ClusterError          no Ray answers where RAY_ADDRESS points, or it refuses
│   └── StudyError            the root holds too little to train on
├── ShapeError                a tensor of the wrong shape or range (also a ValueError)
├── DecodeError               one clip cannot be decoded; becomes a row in rejects/
├── FeatureError              features are missing or not finite; names tier and clip
├── BundleError               a bundle is damaged, or of another version
├── StorageError              the storage answered for nothing, as long as the job waits for it
├── DamagedFileError          a file under a root cannot be read (also a ValueError); names it
└── JobFailedError            what a library, Ray or the machine raised, in one line
"""

from __future__ import annotations


class M3RayError(Exception):
    """Root of every error that m3ray raises on purpose."""

    exit_status = 1
    told = False
    """Whether the job's last lines have said that it failed."""


class UserError(M3RayError):
    """The request cannot be carried out as given; nothing was written."""

    exit_status = 2


class ConfigError(UserError):
    """An option is unknown, or contradicts another."""


class SchemaError(UserError):
    """A table lacks a column, repeats an id, or holds an impossible value."""


class WeightsError(UserError):
    """A weight file is missing, damaged, of another network or of another hash."""


class RootBusyError(UserError):
    """Another job works on the same root."""


class LostLockError(RootBusyError):
    """The lock that a job worked under is another's by now: it must write no more."""

    exit_status = 1  # unlike a refusal at the start, something was written


class ClusterError(UserError):
    """No Ray answers where RAY_ADDRESS points, or it does not let us in."""


class StudyError(UserError):
    """The root holds too little to train on."""


class ShapeError(M3RayError, ValueError):
    """A tensor of the wrong shape, type or range."""


class FeatureError(M3RayError):
    """Features are missing or not finite."""


class BundleError(M3RayError):
    """A bundle is damaged, incomplete or of another version."""


class StorageError(M3RayError):
    """The storage answered for no clip as long as the job waits for it; nothing was rejected."""


class DamagedFileError(M3RayError, ValueError):
    """A file that m3ray wrote cannot be read: cut short, changed, or not m3ray's."""


class JobFailedError(M3RayError):
    """What m3ray did not foresee, in one line; its cause has the traceback."""


class DecodeError(M3RayError):
    """One clip cannot be decoded.

    Args:
        reason: machine-readable word, as in `rejects/` (`empty_file`, `not_a_video`, ...).
        message: what was got and what was expected.
        stage: where it happened: `read`, `sniff`, `demux`, `decode`, `tier`.
    """

    def __init__(self, reason: str, message: str, stage: str = "decode") -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.stage = stage
