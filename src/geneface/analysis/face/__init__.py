"""The tracker that ships with the package: MediaPipe's face networks as ONNX files, run the way MediaPipe runs them.

`tools/convert_tracker.py` makes the files. What is done around the networks follows MediaPipe 0.10.21's CPU graphs
(FaceLandmarkFront, FaceDetection, SelfieSegmentation), so that meshes, boxes and mattes are theirs up to rounding.
Users go through `analysis.tracker`.
"""
