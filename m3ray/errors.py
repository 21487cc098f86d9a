"""Errors that m3ray raises on purpose. Each message says what was got, what was expected and what to do next.

M3RayError                    exit status 1
├── UserError                 exit status 2: the request itself cannot be carried out
│   ├── ConfigError           an option is unknown or contradicts another
│   ├── SchemaError           a table lacks a column, repeats an id, holds an impossible value
│   ├── WeightsError          a weight file is missing, damaged, of another network or hash
│   ├── RootBusyError         another job works on the same root
│   │   └── LostLockError     another job has taken the lock over (exit status 1: something was written)
│   ├── DeviceError           a GPU that the cluster promises cannot be computed on
│   ├── ClusterError          no Ray answers at RAY_ADDRESS, or it rejects the connection
│   └── StudyError            the root holds too little to train on
├── ShapeError                a tensor of the wrong shape or range (also a ValueError)
├── DecodeError               one clip cannot be decoded; becomes a row in rejects/
├── FeatureError              features are missing or not finite; names tier and clip
├── BundleError               a bundle is damaged, or of another version
├── LostDeviceError           a GPU that was promised to a worker cannot be computed on, found while the job ran
├── StorageError              the storage did not answer for any clip as long as the job waited
├── DamagedFileError          a file under a root cannot be read (also a ValueError); the file is named
└── JobFailedError            what a library, Ray or the machine raised, in one line
"""

from __future__ import annotations


class M3RayError(Exception):
    """Root of every error that m3ray raises on purpose."""

    exit_status = 1
    is_reported = False
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
    """Another job has taken over the lock that a job worked under, which must therefore stop writing."""

    exit_status = 1  # something was written, unlike where a job is rejected at its start


class DeviceError(UserError):
    """A GPU that the cluster promises cannot be computed on."""


class ClusterError(UserError):
    """No Ray answers at RAY_ADDRESS, or it rejects the connection."""


class StudyError(UserError):
    """The root holds too little to train on."""


class ShapeError(M3RayError, ValueError):
    """A tensor of the wrong shape, type or range."""


class FeatureError(M3RayError):
    """Features are missing or not finite."""


class BundleError(M3RayError):
    """A bundle is damaged, incomplete or of another version."""


class LostDeviceError(M3RayError):
    """A GPU that was promised to a worker cannot be computed on, found while the job ran."""


class StorageError(M3RayError):
    """The storage did not answer for any clip as long as the job waited; nothing was rejected."""


class DamagedFileError(M3RayError, ValueError):
    """A file under a root cannot be read: it is truncated, changed, or not one of m3ray's."""


class JobFailedError(M3RayError):
    """An error that m3ray did not foresee, in one line; its cause has the traceback."""


class DecodeError(M3RayError):
    """One clip cannot be decoded.

    Args:
        reason: machine-readable word for the column `error` of `rejects/`, such as `empty_file`.
        message: what was got and what was expected.
        stage: stage that failed: 'read', 'sniff', 'demux', 'decode' or 'tier'.
    """

    def __init__(self, reason: str, message: str, stage: str = "decode") -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.stage = stage
