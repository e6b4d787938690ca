"""What it means when S3 refuses."""

from typing import Final

from harmony_agent.core.errors import (
    Absent,
    AgentError,
    OutcomeUnknown,
    PreconditionFailed,
    Refused,
    Unavailable,
)
from harmony_agent.repositories.http.errors import Denied, redirect_error, retry_after

__all__ = ["EXPIRED", "WRONG_KEY", "denied_by_s3"]

# docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
WRONG_KEY: Final = frozenset({"InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken"})
EXPIRED: Final = frozenset({"ExpiredToken", "TokenRefreshRequired", "RequestTimeTooSkewed"})
_WRONG_REGION: Final = frozenset(
    {"PermanentRedirect", "AuthorizationHeaderMalformed", "TemporaryRedirect"}
)
_BUSY: Final = frozenset({"SlowDown", "ServiceUnavailable", "Throttling"})
_CONFLICT: Final = frozenset(
    {"PreconditionFailed", "ConditionalRequestConflict", "OperationAborted"}
)


def denied_by_s3(error: Denied, what: str, server: str, bucket: str) -> AgentError:
    """The agent's error for an answer of `server`; `what` begins the message."""
    code, status = error.code, error.status
    shown = code or str(status)
    if code in WRONG_KEY:
        return Refused(f"{what}: {server} does not know accessKey or secretAccessKey ({code})")
    if code in EXPIRED:
        return Refused(f"{what}: the credentials or this machine's clock are off ({code})")
    region = error.headers.get("x-amz-bucket-region")
    if not code and not region and (redirect := redirect_error(error, what, server)):
        return redirect
    if code in _WRONG_REGION or status in (301, 307):
        right = f"set region to {region}" if region else "correct region"
        return Refused(f"{what}: the bucket is in another region; {right} ({shown})")
    if code == "NoSuchBucket":
        return Refused(f"{what}: there is no bucket {bucket}; create it")
    if code in _BUSY or status in (429, 503):
        return Unavailable(f"{what}: {server} is busy ({shown})", retry_after=retry_after(error))
    if status == 404:
        return Absent(f"{what}: there is no such object")
    if code in _CONFLICT or status in (409, 412):
        return PreconditionFailed(f"{what}: somebody else was first")
    if status in (401, 403):
        return Refused(
            f"{what}: permission denied ({shown}); allow s3:GetObject, s3:PutObject, "
            "s3:DeleteObject and s3:ListBucket"
        )
    if status >= 500 and status != 501:
        return OutcomeUnknown(f"{what}: {server} answered {status} ({shown})")
    told = f": {error.message}" if error.message else ""
    return Refused(f"{what}: {server} answered {status} ({shown}){told}")
