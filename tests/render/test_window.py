"""A part of a picture is what the whole picture has there."""

from __future__ import annotations

import numpy as np
import pytest

from geneface.render.gaussian import GaussianRenderer
from geneface.render.renderer import Renderer, Window
from geneface.types import Camera, FloatArray
from tests.render.test_gaussian import some_model as gaussian_model
