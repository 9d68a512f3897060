"""An S3 location: a bucket and a prefix."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class S3Location:
    """A bucket and a prefix, which is empty or ends with a slash."""

    bucket: str
    prefix: str

    @classmethod
    def parse(cls, full_path: str) -> S3Location:
        """Parse ``s3://bucket/prefix``.

        Raises:
            ValueError: the path has another form.
        """
        scheme, found, rest = full_path.partition("://")
        bucket, _, prefix = rest.partition("/")
        if scheme != "s3" or not found or not bucket:
            raise ValueError("is no S3 URI of the form s3://bucket/prefix")
        prefix = prefix.strip("/")
        return cls(bucket, f"{prefix}/" if prefix else "")

    def key(self, relative: str) -> str:
        """Return the key of the file with the API's name ``relative``."""
        return f"{self.prefix}{relative}"

    def uri(self, relative: str = "") -> str:
        """Return the full path of ``relative``."""
        return f"s3://{self.bucket}/{self.key(relative)}"
