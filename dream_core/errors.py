"""What can go wrong while dreaming, as a tree.

DreamError
  NetworkNotFoundError    no network of that name is registered
  LayerNotFoundError      the network has no layer of that name
  ChannelNotFoundError    the layer has fewer channels
  ClassNotFoundError      the network knows no class of that name
  ObjectiveError          an objective cannot be read or does not fit the network
  SettingError            a setting of the dream is out of range
  WrapError               a module cannot be made a network as it was asked (also a TypeError)
  WeightsError            weights are absent, of another network, damaged, or not plain tensors
    WeightsMismatchError  a file is another than the one expected, by its hash
  DataError               a data set is absent, damaged, or cannot be made
  DeviceError             the device is not there
  NonFiniteError          a sound, an activation or a gradient is not finite
  CancelledError          the caller asked to stop
"""

from __future__ import annotations

__all__ = [
    "CancelledError",
    "ChannelNotFoundError",
    "ClassNotFoundError",
    "DataError",
    "DeviceError",
    "DreamError",
    "LayerNotFoundError",
    "NetworkNotFoundError",
    "NonFiniteError",
    "ObjectiveError",
    "SettingError",
    "WeightsError",
    "WeightsMismatchError",
    "WrapError",
]


class DreamError(Exception):
    """Base of every error the dream core raises on purpose."""


class NetworkNotFoundError(DreamError):
    """No network of that name is registered."""


class LayerNotFoundError(DreamError):
    """The network has no layer of that name."""


class ChannelNotFoundError(DreamError):
    """The layer has fewer channels."""


class ClassNotFoundError(DreamError):
    """The network knows no class of that name."""


class ObjectiveError(DreamError):
    """An objective cannot be read, or does not fit the network."""


class SettingError(DreamError):
    """A setting of the dream is out of range."""


class WrapError(DreamError, TypeError):
    """A module cannot be made a network as it was asked."""


class WeightsError(DreamError):
    """Weights are absent, of another network, damaged, or not plain tensors."""


class WeightsMismatchError(WeightsError):
    """A file is another than the one expected, by its hash."""


class DataError(DreamError):
    """A data set is absent, damaged, or cannot be made."""


class DeviceError(DreamError):
    """The device is not there."""


class NonFiniteError(DreamError):
    """A sound, an activation or a gradient is not finite."""


class CancelledError(DreamError):
    """The caller asked to stop."""
