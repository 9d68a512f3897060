"""The closed sets of words that the platform's API knows (lightly 1.5.26, models/*.py)."""

from __future__ import annotations

from enum import IntEnum, StrEnum


class Creator(StrEnum):
    UNKNOWN = "UNKNOWN"
    USER_WEBAPP = "USER_WEBAPP"
    USER_PIP = "USER_PIP"
    USER_PIP_LIGHTLY_MAGIC = "USER_PIP_LIGHTLY_MAGIC"
    USER_WORKER = "USER_WORKER"


class DatasetCreator(StrEnum):
    UNKNOWN = "UNKNOWN"
    USER_WEBAPP = "USER_WEBAPP"
    USER_PIP = "USER_PIP"
    USER_PIP_LIGHTLY_MAGIC = "USER_PIP_LIGHTLY_MAGIC"
    USER_WORKER = "USER_WORKER"


class DatasetType(StrEnum):
    CROPS = "Crops"
    IMAGES = "Images"
    VIDEOS = "Videos"


class DatasourcePurpose(StrEnum):
    INPUT_OUTPUT = "INPUT_OUTPUT"
    INPUT = "INPUT"
    LIGHTLY = "LIGHTLY"


class DockerRunArtifactStorageLocation(StrEnum):
    LIGHTLY = "LIGHTLY"
    DATASOURCE = "DATASOURCE"


class DockerRunArtifactType(StrEnum):
    LOG = "LOG"
    MEMLOG = "MEMLOG"
    CHECKPOINT = "CHECKPOINT"
    REPORT_PDF = "REPORT_PDF"
    REPORT_JSON = "REPORT_JSON"
    REPORT_V2_JSON = "REPORT_V2_JSON"
    CORRUPTNESS_CHECK_INFORMATION = "CORRUPTNESS_CHECK_INFORMATION"
    SEQUENCE_INFORMATION = "SEQUENCE_INFORMATION"
    RELEVANT_FILENAMES = "RELEVANT_FILENAMES"


class DockerRunLogLevel(StrEnum):
    VERBOSE = "VERBOSE"
    NOTSET = "NOTSET"
    DEBUG = "DEBUG"
    INFO = "INFO"
    WARNING = "WARNING"
    ERROR = "ERROR"
    CRITICAL = "CRITICAL"


class DockerRunScheduledPriority(StrEnum):
    LOW = "LOW"
    MID = "MID"
    HIGH = "HIGH"
    CRITICAL = "CRITICAL"


class DockerRunScheduledState(StrEnum):
    OPEN = "OPEN"
    LOCKED = "LOCKED"
    DONE = "DONE"
    CANCELED = "CANCELED"


class DockerRunState(StrEnum):
    STARTED = "STARTED"
    INITIALIZING = "INITIALIZING"
    LOADING_DATASET = "LOADING_DATASET"
    LOADING_METADATA = "LOADING_METADATA"
    LOADING_PREDICTION = "LOADING_PREDICTION"
    CHECKING_CORRUPTNESS = "CHECKING_CORRUPTNESS"
    INITIALIZING_OBJECT_CROPS = "INITIALIZING_OBJECT_CROPS"
    COMPUTING_METADATA = "COMPUTING_METADATA"
    TRAINING = "TRAINING"
    EMBEDDING = "EMBEDDING"
    EMBEDDING_OBJECT_CROPS = "EMBEDDING_OBJECT_CROPS"
    PRETAGGING = "PRETAGGING"
    COMPUTING_ACTIVE_LEARNING_SCORES = "COMPUTING_ACTIVE_LEARNING_SCORES"
    SAMPLING = "SAMPLING"
    EMBEDDING_FULL_IMAGES = "EMBEDDING_FULL_IMAGES"
    SAVING_RESULTS = "SAVING_RESULTS"
    UPLOADING_DATASET = "UPLOADING_DATASET"
    GENERATING_REPORT = "GENERATING_REPORT"
    UPLOADING_REPORT = "UPLOADING_REPORT"
    UPLOADED_REPORT = "UPLOADED_REPORT"
    UPLOADING_ARTIFACTS = "UPLOADING_ARTIFACTS"
    UPLOADED_ARTIFACTS = "UPLOADED_ARTIFACTS"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CRASHED = "CRASHED"
    ABORTED = "ABORTED"


class DockerWorkerState(StrEnum):
    OFFLINE = "OFFLINE"
    CRASHED = "CRASHED"
    IDLE = "IDLE"
    BUSY = "BUSY"


class DockerWorkerType(StrEnum):
    FULL = "FULL"


class ExpiryHandlingStrategyV3(StrEnum):
    SKIP = "SKIP"
    ABORT = "ABORT"


class FileNameFormat(StrEnum):
    NAME = "NAME"
    DATASOURCE_FULL = "DATASOURCE_FULL"
    REDIRECTED_READ_URL = "REDIRECTED_READ_URL"


class FileOutputFormat(StrEnum):
    JSON = "JSON"
    PLAIN = "PLAIN"


class ImageType(StrEnum):
    FULL = "full"
    THUMBNAIL = "thumbnail"
    META = "meta"


class LightlyModelV3(StrEnum):
    RESNET_18 = "resnet-18"
    RESNET_34 = "resnet-34"
    RESNET_50 = "resnet-50"
    RESNET_101 = "resnet-101"
    RESNET_152 = "resnet-152"


class LightlyTrainerPrecisionV3(IntEnum):
    BITS_16 = 16
    BITS_32 = 32


class S3Region(StrEnum):
    US_EAST_2 = "us-east-2"
    US_EAST_1 = "us-east-1"
    US_WEST_1 = "us-west-1"
    US_WEST_2 = "us-west-2"
    AF_SOUTH_1 = "af-south-1"
    AP_EAST_1 = "ap-east-1"
    AP_SOUTH_2 = "ap-south-2"
    AP_SOUTHEAST_3 = "ap-southeast-3"
    AP_SOUTHEAST_4 = "ap-southeast-4"
    AP_SOUTH_1 = "ap-south-1"
    AP_NORTHEAST_3 = "ap-northeast-3"
    AP_NORTHEAST_2 = "ap-northeast-2"
    AP_SOUTHEAST_1 = "ap-southeast-1"
    AP_SOUTHEAST_2 = "ap-southeast-2"
    AP_NORTHEAST_1 = "ap-northeast-1"
    CA_CENTRAL_1 = "ca-central-1"
    CN_NORTHWEST_1 = "cn-northwest-1"
    EU_CENTRAL_1 = "eu-central-1"
    EU_WEST_1 = "eu-west-1"
    EU_WEST_2 = "eu-west-2"
    EU_SOUTH_1 = "eu-south-1"
    EU_WEST_3 = "eu-west-3"
    EU_NORTH_1 = "eu-north-1"
    EU_SOUTH_2 = "eu-south-2"
    EU_CENTRAL_2 = "eu-central-2"
    ME_SOUTH_1 = "me-south-1"
    ME_CENTRAL_1 = "me-central-1"
    SA_EAST_1 = "sa-east-1"
    US_GOV_EAST = "us-gov-east"
    US_GOV_WEST = "us-gov-west"


class SamplePartialMode(StrEnum):
    IDS = "ids"
    FILENAMES = "fileNames"
    FULL = "full"


class SampleSortBy(StrEnum):
    ID = "_id"
    INDEX = "index"


class SampleType(StrEnum):
    CROP = "CROP"
    IMAGE = "IMAGE"
    VIDEO_FRAME = "VIDEO_FRAME"


class SelectionInputPredictionsName(StrEnum):
    CLASS_DISTRIBUTION = "CLASS_DISTRIBUTION"
    CATEGORY_COUNT = "CATEGORY_COUNT"


class SelectionInputType(StrEnum):
    EMBEDDINGS = "EMBEDDINGS"
    SCORES = "SCORES"
    METADATA = "METADATA"
    PREDICTIONS = "PREDICTIONS"
    RANDOM = "RANDOM"


class SelectionStrategyThresholdOperation(StrEnum):
    SMALLER = "SMALLER"
    SMALLER_EQUAL = "SMALLER_EQUAL"
    BIGGER = "BIGGER"
    BIGGER_EQUAL = "BIGGER_EQUAL"


class SelectionStrategyTypeV3(StrEnum):
    DIVERSITY = "DIVERSITY"
    WEIGHTS = "WEIGHTS"
    THRESHOLD = "THRESHOLD"
    BALANCE = "BALANCE"
    SIMILARITY = "SIMILARITY"
    TYPICALITY = "TYPICALITY"


class SharedAccessType(StrEnum):
    WRITE = "WRITE"


class TagArithmeticsOperation(StrEnum):
    UNION = "UNION"
    INTERSECTION = "INTERSECTION"
    DIFFERENCE = "DIFFERENCE"


class TagChangeDataOperationMethod(StrEnum):
    SELECTED = "selected"
    ADDED = "added"
    REMOVED = "removed"


class TagCreator(StrEnum):
    UNKNOWN = "UNKNOWN"
    USER_WEBAPP = "USER_WEBAPP"
    USER_PIP = "USER_PIP"
    USER_PIP_LIGHTLY_MAGIC = "USER_PIP_LIGHTLY_MAGIC"
    USER_WORKER = "USER_WORKER"
    SAMPLER_ACTIVE_LEARNING = "SAMPLER_ACTIVE_LEARNING"
    SAMPLER_CORAL = "SAMPLER_CORAL"
    SAMPLER_CORESET = "SAMPLER_CORESET"
    SAMPLER_RANDOM = "SAMPLER_RANDOM"
