"""A large file of a request: an upload that was made before, or a file of the form, which becomes one."""

from __future__ import annotations

import os
import shutil

from starlette.datastructures import UploadFile

from geneface.serve.context import Context
from geneface.serve.errors import ApiError
from geneface.serve.jobs.uploads import Upload


def given_upload(upload_id: str | None, file: UploadFile | None, context: Context) -> Upload:
    """The upload that a request names or holds, complete.

    Raises:
        ApiError: it names none, or one that is not complete; no room.
    """
    uploads = context.jobs.uploads
    if (upload_id is None) == (file is None):
        raise ApiError(422, "bad_request", "no file is given, or two", "send a file of a form, or name an upload")
    if upload_id is not None:
        upload = uploads.get(upload_id)
        if not upload.is_complete:
            told = f"only {upload.offset} of {upload.bytes} bytes of this upload have come"
            raise ApiError(409, "upload_incomplete", told, "send the rest first")
        return upload
    assert file is not None
    size = file.file.seek(0, os.SEEK_END)
    file.file.seek(0)
    if size == 0:
        raise ApiError(422, "bad_request", "the file is empty", "choose another one")
    upload = context.jobs.begin_upload(size, file.filename or "")
    with open(uploads.data(upload), "wb") as out:
        shutil.copyfileobj(file.file, out, 1 << 20)
    return uploads.get(upload.id)
