"""Speech to landmark motion: networks (torch), and `runtime`, which needs onnxruntime and numpy only."""
