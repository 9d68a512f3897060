"""The demo's bucket: where its photos are, and where Lightly writes."""

BUCKET = "demo-photos"
INPUT = f"s3://{BUCKET}/raw/"
LIGHTLY = f"s3://{BUCKET}/lightly/"
N_PHOTOS = 160
