"""Errors a user can fix. Each message is one sentence: what must be true, what was given, what to do."""


class SightlineError(Exception):
    """A problem the user can fix; its text is shown as it is, in the page and on stderr."""


class FileRefused(SightlineError):
    """A file cannot be read: wrong type, damaged, or it asks for more than the limits allow."""


class LabelError(SightlineError):
    """Labels do not fit: another size than the image, an unknown value, no case to match."""


class NotFound(SightlineError):
    """No project, case, reader, model or job of that name or number."""


class Conflict(SightlineError):
    """Somebody else changed the thing first, or the name is taken."""


class TrainingError(SightlineError):
    """Training cannot start or go on with this data and these settings."""


class WeightsError(SightlineError):
    """Weights or a model package are missing, damaged, foreign, or do not fit."""


class StorageError(SightlineError):
    """The disk or the database cannot take what should be stored."""


class JobStopped(SightlineError):
    """Somebody asked this job to stop; what was done so far is kept."""


class AccessDenied(SightlineError):
    """The browser may not see or change this, or no longer; loading the page again gives it new access."""
