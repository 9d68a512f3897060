"""The platform's tables. Times are milliseconds since the epoch unless the name contains ``seconds``."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, String, UniqueConstraint, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship


class Table(DeclarativeBase):
    """The base of every table."""

    type_annotation_map = {dict[str, Any]: JSON, list[str]: JSON, list[dict[str, Any]]: JSON}  # noqa: RUF012 (SQLAlchemy's own declaration)


class Stamped:
    """Every entity has an id, an owner and two times."""

    id: Mapped[str] = mapped_column(String(24), primary_key=True)
    user_id: Mapped[str]
    created_at: Mapped[int]
    last_modified_at: Mapped[int]


class Dataset(Stamped, Table):
    """A dataset; its name is unique per owner."""

    __tablename__ = "dataset"
    __table_args__ = (
        UniqueConstraint("user_id", "name"),
        Index("ix_dataset_user_created", "user_id", "created_at", "id"),
    )

    name: Mapped[str]
    type: Mapped[str]
    img_type: Mapped[str | None]
    parent_id: Mapped[str | None] = mapped_column(index=True)
    processed_until_seconds: Mapped[int] = mapped_column(default=0)
    datasources: Mapped[list[Datasource]] = relationship(
        back_populates="dataset", cascade="all, delete-orphan", order_by="Datasource.purpose"
    )


class User(Table):
    """A user other than the sandbox's first one. Only a digest of the token is stored."""

    __tablename__ = "user"

    id: Mapped[str] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(unique=True)
    team: Mapped[str | None] = mapped_column(index=True)
    token_digest: Mapped[str] = mapped_column(unique=True)


class SharedAccess(Stamped, Table):
    """With whom a dataset is shared: e-mail addresses and team ids, per type of access."""

    __tablename__ = "shared_access"
    __table_args__ = (UniqueConstraint("dataset_id", "access_type"),)

    dataset_id: Mapped[str] = mapped_column(ForeignKey("dataset.id", ondelete="CASCADE"))
    access_type: Mapped[str]
    users: Mapped[list[str]]
    teams: Mapped[list[str]]


class Datasource(Table):
    """The location of a dataset's files, one row per purpose. ``config``: as sent, with the API's names."""

    __tablename__ = "datasource"
    __table_args__ = (UniqueConstraint("dataset_id", "purpose"),)

    id: Mapped[str] = mapped_column(String(24), primary_key=True)
    dataset_id: Mapped[str] = mapped_column(ForeignKey("dataset.id", ondelete="CASCADE"))
    purpose: Mapped[str]
    config: Mapped[dict[str, Any]]
    last_modified_at: Mapped[int]
    dataset: Mapped[Dataset] = relationship(back_populates="datasources")


class Worker(Stamped, Table):
    """A registered worker; its name is unique per owner."""

    __tablename__ = "worker"
    __table_args__ = (UniqueConstraint("user_id", "name"),)

    name: Mapped[str]
    worker_type: Mapped[str]
    state: Mapped[str]
    labels: Mapped[list[str]]
    is_default: Mapped[bool] = mapped_column(default=False)
    docker_version: Mapped[str | None]


class WorkerConfig(Table):
    """An immutable worker configuration. ``config``: as sent, with the API's names."""

    __tablename__ = "worker_config"

    id: Mapped[str] = mapped_column(String(24), primary_key=True)
    user_id: Mapped[str]
    created_at: Mapped[int]
    config: Mapped[dict[str, Any]]


class ScheduledRun(Stamped, Table):
    """A request to run a configuration on a dataset, until a worker has completed it."""

    __tablename__ = "scheduled_run"
    __table_args__ = (
        Index("ix_scheduled_run_dataset_state", "dataset_id", "state"),
        Index("ix_scheduled_run_state", "state"),
        Index("ix_scheduled_run_user_state", "user_id", "state"),
    )

    dataset_id: Mapped[str] = mapped_column(ForeignKey("dataset.id", ondelete="CASCADE"))
    config_id: Mapped[str]
    priority: Mapped[str]
    runs_on: Mapped[list[str]]
    state: Mapped[str]
    worker_id: Mapped[str | None] = mapped_column(index=True)


class Run(Stamped, Table):
    """A worker's run of a scheduled run. It outlives its dataset."""

    __tablename__ = "run"
    # In the order of the lists: the newest first.
    __table_args__ = (
        Index("ix_run_user_created", "user_id", text("created_at DESC"), "id"),
        Index("ix_run_dataset_created", "dataset_id", text("created_at DESC"), "id"),
    )

    docker_version: Mapped[str]
    state: Mapped[str] = mapped_column(index=True)
    dataset_id: Mapped[str | None]
    config_id: Mapped[str | None]
    scheduled_id: Mapped[str | None] = mapped_column(unique=True)
    message: Mapped[str | None]
    artifacts: Mapped[list[Artifact]] = relationship(
        cascade="all, delete-orphan", order_by="Artifact.created_at"
    )


class RunLog(Table):
    """One line of a run's log."""

    __tablename__ = "run_log"
    __table_args__ = (Index("ix_run_log_run", "run_id", "number"),)

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    run_id: Mapped[str] = mapped_column(ForeignKey("run.id", ondelete="CASCADE"))
    entry: Mapped[dict[str, Any]]


class Artifact(Table):
    """A file that a run created, in the platform's own bucket or with Lightly's own files."""

    __tablename__ = "artifact"
    __table_args__ = (UniqueConstraint("run_id", "file_name"),)

    id: Mapped[str] = mapped_column(String(24), primary_key=True)
    run_id: Mapped[str] = mapped_column(ForeignKey("run.id", ondelete="CASCADE"))
    type: Mapped[str]
    file_name: Mapped[str]
    storage_location: Mapped[str] = mapped_column(default="LIGHTLY")
    uploaded: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[int]


class Sample(Table):
    """An image or a frame of a dataset; ``position`` is its bit in the tags' bit masks."""

    __tablename__ = "sample"
    __table_args__ = (
        UniqueConstraint("dataset_id", "file_name"),
        UniqueConstraint("dataset_id", "position"),
        Index("ix_sample_dataset_id", "dataset_id", "id"),
        # For counts and sums without reading rows.
        Index("ix_sample_dataset_size", "dataset_id", "size_in_bytes"),
    )

    id: Mapped[str] = mapped_column(String(24), primary_key=True)
    dataset_id: Mapped[str] = mapped_column(ForeignKey("dataset.id", ondelete="CASCADE"))
    file_name: Mapped[str]
    position: Mapped[int]
    type: Mapped[str]
    details: Mapped[dict[str, Any]]
    size_in_bytes: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[int]
    last_modified_at: Mapped[int]


class Tag(Table):
    """A named subset of a dataset's samples; the first one has no previous tag."""

    __tablename__ = "tag"
    __table_args__ = (UniqueConstraint("dataset_id", "name"),)

    id: Mapped[str] = mapped_column(String(24), primary_key=True)
    dataset_id: Mapped[str] = mapped_column(ForeignKey("dataset.id", ondelete="CASCADE"))
    name: Mapped[str]
    prev_tag_id: Mapped[str | None] = mapped_column(index=True)
    query_tag_id: Mapped[str | None]
    preselected_tag_id: Mapped[str | None]
    bit_mask: Mapped[str]
    tot_size: Mapped[int]
    run_id: Mapped[str | None] = mapped_column(index=True)
    changes: Mapped[list[dict[str, Any]]]
    created_at: Mapped[int]
    last_modified_at: Mapped[int]
