"""Official files brought to the folder of weights: from caches of this machine, or fetched.

Nothing is fetched that was not asked for, and before the first byte one line says what comes, how
large it is, under which licence, from where and to which folder.
"""

import os
import shutil
import sys
import zipfile
from collections.abc import Iterable
from pathlib import Path

import torch
from huggingface_hub import get_hf_file_metadata, hf_hub_url, try_to_load_from_cache
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError
from huggingface_hub.utils import build_hf_headers
from httpx2 import TransportError

from common.download import Digest, content_length, download, has_digest
from common.errors import UsageError
from common.files import publish, temporary_beside
from model.official import OFFICIAL, HubFile, OfficialFile, readable_size
from model.weights import how_to_get, official_path, weights_folder
