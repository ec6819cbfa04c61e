"""The only code that touches files: media (`media`, `audio`, `video`, `image`, `encode`), tensors, JSON and records,
what the package ships (`assets`, `face_mesh`), ONNX graphs (`session`).

Outputs are whole or absent (`atomic`, `place`); a folder of unfinished work belongs to one process (`work`).
"""
