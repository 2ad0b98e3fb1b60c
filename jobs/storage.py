"""What Spark says when the storage under the lake fails, in words a person can act on.

Nothing that is published is lost by any of it: a commit that could not be written whole was not made, and tables are as after their last.
"""

import re

from jobs.decisions import OF_PEOPLE, USER_KEYS
from jobs.errors import ContractError, ShelfmatesError, ToolchainError, TransientError

_UNREADABLE = re.compile(r"\[FAILED_READ_FILE\.(\w+)\] Encountered error while reading file (\S+?)\.?\s")

_UNLIKE_ITS_CHECKSUM = re.compile(r"ChecksumException: Checksum error: (.+/)(.+?) at \d+ exp")

# what Hadoop says of S3, however deep the error lies; a disk's errors, and those of other servers, name none of these
_OF_S3 = re.compile(r"org\.apache\.hadoop\.fs\.s3a|software\.amazon\.awssdk|s3a?://")
_NO_BUCKET = re.compile(r"UnknownStoreException|NoSuchBucket")
_DENIED = re.compile(r"AccessDenied|InvalidAccessKeyId|SignatureDoesNotMatch|ExpiredToken|NoAuthWithAWSException|NoAwsCredentialsException")
_SILENT = re.compile(
    r"AWSClientIOException|AWSApiCallTimeoutException|AWSStatus500Exception|AWSServiceThrottledException|Status Code: 409|"
    "Unable to execute HTTP request"
)

FULL, FROZEN = "No space left on device", "Read-only file system"  # as the operating system says it, however deep the error lies


def trouble(error: Exception) -> ShelfmatesError | None:
    """The failure of a disk or a file that an error tells of, if it does."""
    said = str(error)
    if FULL in said:
        remedy = "free space where the lake and Spark's temporary files (spark.local.dir) are, then run the night again"
        return ToolchainError(f"a disk is full ({FULL}); no table holds a part of what was to be written", remedy)
    if FROZEN in said:
        remedy = "make the lake's storage writable, then run the night again"
        return ToolchainError(f"the lake cannot be written ({FROZEN}); no table holds a part of what was to be written", remedy)
    if _OF_S3.search(said):
        if _NO_BUCKET.search(said):
            return ToolchainError("the store knows no such bucket", "see that lake.root, and the paths of sources, name one that is there")
        if _DENIED.search(said):
            return ToolchainError("the store denies access", "see that the driver's keys are right, and that they may read and write there")
        if _SILENT.search(said):
            return TransientError("the store does not answer; no table holds a part of what was to be written", "run it again once it does")
    if unreadable := _UNREADABLE.search(said):
        why, file = unreadable.groups()
        if why == "FILE_NOT_EXIST" and any(f"/{table.name}/" in file for table in (USER_KEYS, *OF_PEOPLE)):
            return TransientError(f"{file} is gone: users were forgotten meanwhile", "run it again")
        found = f"{file} {'is gone' if why == 'FILE_NOT_EXIST' else 'cannot be read: it is damaged'}"
        if "/_delta_log/" in file:
            name = file.rpartition("/")[2]
            remedy = (
                f"put this entry of the table's log back from a copy; the newest one can be removed instead, with .{name}.crc "
                "beside it if there is one, which undoes its commit"
            )
        else:
            remedy = "put it back from a copy, or run the night it belongs to again from ingest on, which writes the night's tables anew"
        return ContractError(found, remedy)
    if unlike := _UNLIKE_ITS_CHECKSUM.search(said):  # Hadoop keeps one beside every file of a local disk, and never looks for strays
        folder, name = unlike.groups()
        found = f"{folder}{name} is not what {folder}.{name}.crc was made of"
        return ContractError(found, f"if {name} was put back or written anew, remove .{name}.crc, which is old; else put back {name}")
    return None
