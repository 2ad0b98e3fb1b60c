"""Makes the bucket, and puts the feeds of a folder into it: `python docker/bucket.py BUCKET FOLDER`.

What lies there under the same name is replaced. The store and its keys are those of AWS_ENDPOINT_URL_S3, AWS_ACCESS_KEY_ID and
AWS_SECRET_ACCESS_KEY.
"""

import os
import sys
from pathlib import Path

from pyarrow import fs

from jobs.object_store import endpoint, region


def main() -> None:
    bucket, folder = sys.argv[1], Path(sys.argv[2])
    scheme, _, host = endpoint(os.environ).rpartition("://")
    store = fs.S3FileSystem(scheme=scheme or "https", endpoint_override=host, region=region(os.environ), allow_bucket_creation=True)
    store.create_dir(bucket)
    store.create_dir(f"{bucket}/spark-events")  # Spark writes its event logs into a folder that is there
    fs.copy_files(str(folder), f"{bucket}/feeds", source_filesystem=fs.LocalFileSystem(), destination_filesystem=store)
    print(f"bucket: {bucket} has {sum(file.is_file() for file in folder.rglob('*')):,} files of feeds")


if __name__ == "__main__":
    main()
