"""What the service answers in place of data; the message is for the client."""

from __future__ import annotations

from http import HTTPStatus


class PipelineError(Exception):
    """An answer with the HTTP status *status*."""

    status = HTTPStatus.INTERNAL_SERVER_ERROR


class BadRequestError(PipelineError):
    """The parameters are missing, malformed, or contradict each other."""

    status = HTTPStatus.BAD_REQUEST


class ForbiddenError(PipelineError):
    """The request comes from a page of another site."""

    status = HTTPStatus.FORBIDDEN


class UnknownError(PipelineError):
    """There is no such town, tile or job."""

    status = HTTPStatus.NOT_FOUND


class FinishedError(PipelineError):
    """The job is finished already."""

    status = HTTPStatus.CONFLICT


class TooLargeError(PipelineError):
    """The request has more than it may."""

    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE


class MediaTypeError(PipelineError):
    """The request's body is of another type than a form's."""

    status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE


class BusyError(PipelineError):
    """The queue is full, or the cluster does not answer. Try again later."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
